"""Inverse sigmoid decay: factor = k / (k + exp(t / k)), which is one half after k log(k) updates.

Bengio, Vinyals, Jaitly and Shazeer, Scheduled sampling for sequence prediction with recurrent neural networks,
NeurIPS 2015, section 2.4; there the share of steps that are taught.
"""

import math

from rnncore.lang import schedule


@schedule
def inverse_sigmoid(t, total, *, k=100.0):
    """From k / (k + 1) down to 0, slowly at first; `k`, at least 1, says how fast."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return k / (k + math.exp(min(t / k, 700.0)))
