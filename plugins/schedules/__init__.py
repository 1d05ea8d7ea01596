"""Schedules: the learning rate over the updates of a run, one file each."""
