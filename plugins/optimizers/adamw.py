"""AdamW: Adam, with the weights decayed by themselves: p = (1 - lr weight_decay) p - lr Adam's direction.

Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, algorithm 2.
"""

import math

import numpy as np

from rnncore.lang import optimizer

from ._options import fractions, not_negative


@optimizer
def adamw(p, g, t, lr, mean, square, *, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    """Adam with weight decay apart from the gradient: p = (1 - lr weight_decay) p - lr Adam's direction."""
    fractions(beta1=beta1, beta2=beta2)
    not_negative(eps=eps, weight_decay=weight_decay)
    mean = beta1 * mean + (1 - beta1) * g
    square = beta2 * square + (1 - beta2) * (g * g)
    root = np.sqrt(square) / math.sqrt(1 - beta2**t) + eps
    return (1 - lr * weight_decay) * p - lr / (1 - beta1**t) * (mean / root), mean, square
