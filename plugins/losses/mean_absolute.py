"""Mean absolute error: L = mean_k |o_k - t_k|, least at the median.

Bishop, Pattern Recognition and Machine Learning, 2006, section 1.5.5 (Minkowski loss, q = 1).
"""

from rnncore.lang import abs, loss, mean


@loss
def mean_absolute(o, target):
    """Mean over outputs of |o - t|."""
    return mean(abs(o - target))
