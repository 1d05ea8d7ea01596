"""Uniform within a = gain sqrt(6 / (rows + columns)), which keeps variance forward and back.

Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks,
AISTATS 2010, equation 16.
A vector (n,) counts as n rows and n columns.
"""

import math

import numpy as np

from rnncore.lang import initializer


@initializer
def glorot_uniform(shape, rng, *, gain=1.0):
    """Uniform within gain sqrt(6 / (rows + columns))."""
    rows, columns = (shape or (1,))[-2:][0], (shape or (1,))[-1]
    bound = gain * math.sqrt(6 / (rows + columns))
    return np.asarray(rng.uniform(-bound, bound, shape))
