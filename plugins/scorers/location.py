"""A scorer that looks at positions, not at keys."""

from rnncore.lang import dot, scalar, scorer, sigmoid, softplus, tanh


@scorer
def location(w, q, position, *, span=50.0):
    """-((p - c) / s)^2 / 2: a window around the position c that the query points at, of learned width s.

    c = span * sigmoid(v tanh(W q + b)) is the predicted alignment of Luong, Pham and Manning, arXiv:1508.04025,
    eq. 9 and 10, there with the length of the source for `span`.

    Options
    -------
    span : float
        The last position that the window can reach.
    """
    centre = span * sigmoid(dot(w.v, tanh(w.a(q))))
    width = 1 + softplus(scalar(w.s))
    distance = (position - centre) / width
    return -0.5 * distance * distance
