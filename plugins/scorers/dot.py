"""Scorers without parameters, for queries as large as keys."""

from rnncore.lang import dot as inner
from rnncore.lang import scorer, size, sqrt


@scorer
def dot(w, q, k):
    """q k. Luong, Pham and Manning, arXiv:1508.04025, eq. 8."""
    return inner(q, k)


@scorer
def scaled_dot(w, q, k):
    """q k / sqrt(d), d being the size of both. Vaswani et al., arXiv:1706.03762, eq. 1."""
    return inner(q, k) / sqrt(size(q))
