"""Uniform within 1 / sqrt(units), for weights and biases alike: what PyTorch's recurrent layers start from.

LeCun, Bottou, Orr and Mueller, Efficient backprop, in: Neural Networks: Tricks of the Trade, 1998;
units is the first axis.
"""

import math

import numpy as np

from rnncore.lang import initializer


@initializer
def fan_uniform(shape, rng):
    """Uniform within 1 / sqrt(units), units being the first axis."""
    bound = 1 / math.sqrt(shape[0] if shape else 1)
    return np.asarray(rng.uniform(-bound, bound, shape))
