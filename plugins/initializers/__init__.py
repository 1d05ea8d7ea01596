"""Initializers: the first values of the parameters, one file each."""
