"""Normal values: N(0, std^2)."""

import numpy as np

from rnncore.lang import initializer


@initializer
def normal(shape, rng, *, std=0.05):
    """Normal with mean 0 and standard deviation `std`."""
    return np.asarray(std * rng.standard_normal(shape))
