"""All values 1."""

import numpy as np

from rnncore.lang import initializer


@initializer
def ones(shape, rng):
    """All values 1."""
    return np.ones(shape)
