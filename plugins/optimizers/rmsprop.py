"""RMSprop: s = decay s + (1 - decay) g^2; v = momentum v + g / (sqrt(s) + eps); p = p - lr v.

Tieleman and Hinton, Neural Networks for Machine Learning, lecture 6.5, 2012; momentum as in Graves,
arXiv:1308.0850, 2013. Weight decay adds weight_decay p to g.
"""

import numpy as np

from rnncore.lang import optimizer

from ._options import fractions, not_negative


@optimizer
def rmsprop(p, g, t, lr, square, velocity, *, decay=0.99, momentum=0.0, eps=1e-8, weight_decay=0.0):
    """Gradient over its running root mean square: p = p - lr g / (sqrt(s) + eps)."""
    fractions(decay=decay)
    not_negative(momentum=momentum, eps=eps, weight_decay=weight_decay)
    if weight_decay:
        g = g + weight_decay * p
    square = decay * square + (1 - decay) * (g * g)
    velocity = momentum * velocity + g / (np.sqrt(square) + eps)
    return p - lr * velocity, square, velocity
