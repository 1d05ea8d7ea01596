"""Normal with standard deviation sqrt(1 / columns), which keeps variance forward.

LeCun, Bottou, Orr and Mueller, Efficient backprop, in: Neural Networks: Tricks of the Trade, 1998,
equation 16.
"""

import math

import numpy as np

from rnncore.lang import initializer


@initializer
def lecun_normal(shape, rng):
    """Normal with standard deviation sqrt(1 / columns)."""
    columns = shape[-1] if shape else 1
    return np.asarray(math.sqrt(1 / columns) * rng.standard_normal(shape))
