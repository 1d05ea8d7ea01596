"""Two directions."""

from rnncore.combine import join, reverse, topology


@topology
def bidirectional(layer, *, merge="concat"):
    """One layer forward and one backward in time, within each sequence's length. Schuster and Paliwal 1997.

    Options
    -------
    merge : {"concat", "sum", "mean"}
        How the two outputs become one.
    """
    return join(merge, forward=layer, backward=reverse(layer))
