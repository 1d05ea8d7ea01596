"""Huber's loss: quadratic near 0, linear beyond delta.

With e = o - t: L = mean_k of e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2).
Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35, 1964.
"""

from rnncore.lang import abs, loss, mean, where


@loss
def huber(o, target, *, delta=1.0):
    """Mean over outputs of e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), with e = o - t."""
    if not delta > 0:
        raise ValueError(f"delta must be above 0, got {delta}")
    e = o - target
    return mean(where(abs(e) <= delta, 0.5 * e * e, delta * (abs(e) - 0.5 * delta)))
