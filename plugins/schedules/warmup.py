"""Linear warm-up: factor = (t + 1) / n over the first n updates, then 1; n is a fraction of the run.

Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, arXiv:1706.02677, 2017, section 2.2.
"""

from rnncore.lang import schedule


@schedule
def warmup(t, total, *, fraction=0.1):
    """Up to 1 along a line over the first `fraction` of the run, then constant."""
    return min(1.0, (t + 1) / max(1, round(fraction * total)))
