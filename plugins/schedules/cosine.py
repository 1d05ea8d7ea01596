"""Cosine annealing: factor = final + (1 - final) (1 + cos(pi t / total)) / 2.

Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017,
equation 5 (one cycle).
"""

import math

from rnncore.lang import schedule


@schedule
def cosine(t, total, *, final=0.0):
    """From 1 down to `final` along half a cosine over the whole run."""
    return final + (1 - final) * (1 + math.cos(math.pi * min(t / total, 1.0))) / 2
