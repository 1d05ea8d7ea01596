"""Long short-term memory, with and without peepholes."""

from rnncore.lang import cell, diag, sigmoid, tanh


@cell
def lstm(w, x, h, c, *, peephole=None):
    """Long short-term memory. Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000.

    i, f, o = sigmoid(W_x x + W_h h + b), g = tanh(W_xg x + W_hg h + b_g), c = f c + i g, h = o tanh(c).

    Options
    -------
    peephole : {None, "diagonal", "full"}
        Gates see the memory too: i and f the old one, o the new one, through a vector
        (Gers, Schraudolph and Schmidhuber 2002) or a matrix from every cell (Graves 2008).
    """
    if peephole not in (None, "diagonal", "full"):
        raise ValueError(f"peephole must be None, 'diagonal' or 'full', got {peephole!r}")

    def seen(memory):
        return {} if peephole is None else {"c": diag(memory) if peephole == "diagonal" else memory}

    i = sigmoid(w.i(x, h, **seen(c)))
    f = sigmoid(w.f(x, h, bias=1.0, **seen(c)))
    g = tanh(w.g(x, h))
    c = f * c + i * g
    o = sigmoid(w.o(x, h, **seen(c)))
    return o * tanh(c), c
