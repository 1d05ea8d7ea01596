"""Mean squared error: L = mean_k (o_k - t_k)^2.

Bishop, Pattern Recognition and Machine Learning, 2006, section 1.5.5.
"""

from rnncore.lang import loss, mean


@loss
def mean_squared(o, target):
    """Mean over outputs of (o - t)^2."""
    e = o - target
    return mean(e * e)
