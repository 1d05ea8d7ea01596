"""Linear warm-up, then cosine annealing: (t + 1) / n over n updates, then half a cosine down to `final`.

Goyal et al., arXiv:1706.02677, 2017 (warm-up); Loshchilov and Hutter, ICLR 2017, equation 5 (cosine).
"""

import math

from rnncore.lang import schedule


@schedule
def warmup_cosine(t, total, *, fraction=0.1, final=0.0):
    """Up to 1 along a line over the first `fraction` of the run, then down to `final` along half a cosine."""
    n = max(1, round(fraction * total))
    if t < n:
        return (t + 1) / n
    done = min((t - n) / max(1, total - n), 1.0)
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
