"""Scorers of attention: the score of a query against a key, one file each."""
