"""Adam: the running mean of the gradient over its running root mean square.

m = b1 m + (1 - b1) g;  s = b2 s + (1 - b2) g^2;  p = p - lr (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + eps).

Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.
Weight decay adds weight_decay p to g; `adamw` keeps the two apart.
"""

import math

import numpy as np

from rnncore.lang import optimizer

from ._options import fractions, not_negative


@optimizer
def adam(p, g, t, lr, mean, square, *, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    """Running mean of the gradient over its running root mean square, both corrected for their start at 0."""
    fractions(beta1=beta1, beta2=beta2)
    not_negative(eps=eps, weight_decay=weight_decay)
    if weight_decay:
        g = g + weight_decay * p
    mean = beta1 * mean + (1 - beta1) * g
    square = beta2 * square + (1 - beta2) * (g * g)
    root = np.sqrt(square) / math.sqrt(1 - beta2**t) + eps
    return p - lr / (1 - beta1**t) * (mean / root), mean, square
