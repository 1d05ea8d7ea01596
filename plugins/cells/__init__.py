"""Cells: the equations of one step, one file each."""
