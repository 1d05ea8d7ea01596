"""Gated recurrent unit, reset before or after the product."""

from rnncore.lang import cell, sigmoid, tanh


@cell
def gru(w, x, h, *, reset="before"):
    """Gated recurrent unit, h = (1 - z) h + z n. Cho et al. 2014, arXiv:1406.1078.

    Options
    -------
    reset : {"before", "after"}
        ``"before"``: n = tanh(W_xn x + W_hn (r h) + b_n). ``"after"``: n = tanh(W_xn x + b_xn + r (W_hn h + b_hn)),
        the form that cuDNN, PyTorch and Keras run; their z is 1 - ours.
    """
    if reset not in ("before", "after"):
        raise ValueError(f"reset must be 'before' or 'after', got {reset!r}")
    z = sigmoid(w.z(x, h))
    r = sigmoid(w.r(x, h))
    n = tanh(w.n(x, h=r * h)) if reset == "before" else tanh(w.n(x) + r * w.n(h))
    return (1 - z) * h + z * n
