"""Exponential decay: factor = final^(t / total).

The classical geometric schedule; see Li and Arora, An exponential learning rate schedule for deep learning,
ICLR 2020.
"""

from rnncore.lang import schedule


@schedule
def exponential(t, total, *, final=0.01):
    """From 1 down to `final` by the same ratio at every update."""
    return final ** min(t / total, 1.0)
