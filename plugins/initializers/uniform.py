"""Uniform values: U(low, high)."""

import numpy as np

from rnncore.lang import initializer


@initializer
def uniform(shape, rng, *, low=-0.05, high=0.05):
    """Uniform between `low` and `high`."""
    return np.asarray(rng.uniform(low, high, shape))
