"""The bilinear scorer."""

from rnncore.lang import dot, scorer


@scorer
def general(w, q, k):
    """q W k. Luong, Pham and Manning, arXiv:1508.04025, eq. 8."""
    return dot(q, w.a(k, bias=False, size=q))
