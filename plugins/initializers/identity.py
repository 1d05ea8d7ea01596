"""The identity matrix times `gain`; a vector or a scalar, being a diagonal, holds `gain`.

Le, Jaitly and Hinton, A simple way to initialize recurrent networks of rectified linear units,
arXiv:1504.00941, 2015.
"""

import numpy as np

from rnncore.lang import initializer


@initializer
def identity(shape, rng, *, gain=1.0):
    """The identity matrix times `gain`."""
    matrix = np.eye(*shape[-2:]) if len(shape) > 1 else np.ones(shape)
    return np.broadcast_to(gain * matrix, shape).copy()
