"""Binary cross-entropy with logits: L = mean_k [-t_k log s(o_k) - (1 - t_k) log(1 - s(o_k))].

Bishop, Pattern Recognition and Machine Learning, 2006, equation 4.90; s is the logistic function.
With -log s(o) = softplus(-o) and -log(1 - s(o)) = softplus(o) no logarithm of 0 is met.
"""

from rnncore.lang import loss, mean, softplus


@loss
def binary_cross_entropy(o, target):
    """Mean over outputs of -t log s(o) - (1 - t) log(1 - s(o)): t from 0 to 1, o before s (logits)."""
    return mean(target * softplus(-o) + (1 - target) * softplus(o))
