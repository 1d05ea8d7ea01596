"""Stochastic gradient descent: v = momentum v + g; p = p - lr v, or p - lr (g + momentum v) with Nesterov.

Polyak, USSR Comp. Math. and Math. Phys. 4, 1964 (momentum); Nesterov, Soviet Math. Doklady 27, 1983, in the
form of Sutskever, Martens, Dahl and Hinton, ICML 2013.
Weight decay adds weight_decay p to g.
"""

from rnncore.lang import optimizer

from ._options import not_negative


@optimizer
def sgd(p, g, t, lr, velocity, *, momentum=0.0, nesterov=False, weight_decay=0.0):
    """Gradient descent with momentum: v = momentum v + g, p = p - lr v; Nesterov's form on request."""
    not_negative(momentum=momentum, weight_decay=weight_decay)
    if weight_decay:
        g = g + weight_decay * p
    velocity = momentum * velocity + g
    step = g + momentum * velocity if nesterov else velocity
    return p - lr * step, velocity
