"""Normal with standard deviation gain sqrt(2 / (rows + columns)), which keeps variance forward and back.

Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks,
AISTATS 2010, equation 12.
A vector (n,) counts as n rows and n columns.
"""

import math

import numpy as np

from rnncore.lang import initializer


@initializer
def glorot_normal(shape, rng, *, gain=1.0):
    """Normal with standard deviation gain sqrt(2 / (rows + columns))."""
    rows, columns = (shape or (1,))[-2:][0], (shape or (1,))[-1]
    return np.asarray(gain * math.sqrt(2 / (rows + columns)) * rng.standard_normal(shape))
