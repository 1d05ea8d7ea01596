"""Optimizers: how a gradient changes the parameters, one file each."""
