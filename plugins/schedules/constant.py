"""A constant learning rate: factor 1."""

from rnncore.lang import schedule


@schedule
def constant(t, total):
    """The learning rate stays as it is."""
    return 1.0
