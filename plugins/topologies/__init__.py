"""Topologies: how cells are wired and combined, one file each."""
