"""Cross-entropy of the softmax: L = log sum_k exp(o_k) - o_y, the negative log-probability of class y.

Bishop, Pattern Recognition and Machine Learning, 2006, equation 4.108; the outputs are shifted by
their largest, so that nothing overflows (Blanchard, Higham and Higham, IMA J. Numer. Anal. 41, 2021).
The derivative is softmax(o) - 1_y.
"""

from rnncore.lang import dot, exp, log, loss, max, stop_gradient, sum


@loss(target="class")
def cross_entropy(o, target):
    """Negative log-probability of the class, log sum exp(o) - o_y: integer targets, o before the softmax."""
    d = o - stop_gradient(max(o))
    return log(sum(exp(d))) - dot(target, d)
