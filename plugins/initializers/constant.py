"""All values alike.

A forget gate's bias of 1: Gers, Schmidhuber and Cummins, Neural Computation 12, 2000.
"""

import numpy as np

from rnncore.lang import initializer


@initializer
def constant(shape, rng, *, value=0.0):
    """All values equal `value`."""
    return np.full(shape, float(value))
