"""The additive scorer."""

from rnncore.lang import dot, scorer, tanh


@scorer
def bahdanau(w, q, k):
    """v tanh(W_q q + W_k k + b): a small network. Bahdanau, Cho and Bengio, arXiv:1409.0473, appendix A.1.2."""
    return dot(w.v, tanh(w.a(q, k)))
