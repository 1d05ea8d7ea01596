"""All values 0."""

import numpy as np

from rnncore.lang import initializer


@initializer
def zeros(shape, rng):
    """All values 0."""
    return np.zeros(shape)
