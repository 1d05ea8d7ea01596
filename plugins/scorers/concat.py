"""The scorer of query and key side by side."""

from rnncore.lang import dot, scorer, tanh


@scorer
def concat(w, q, k):
    """v tanh(W [q; k]), W in two halves. Luong, Pham and Manning, arXiv:1508.04025, eq. 8."""
    return dot(w.v, tanh(w.a(q, k, bias=False)))
