"""Feedback between the layers of a stack."""

from rnncore.combine import topology, wired


@topology
def feedback(*layers, edges=()):
    """A stack of layers with feedback between any of them: the general recurrent network. Elman 1990; Jordan 1986.

    At a step layer l reads what layer l - 1 gives at the same step. Over an edge (i, j) each affine map of layer j
    that reads its x itself reads what layer i gave one step before, too: W_y0i in layer j for an edge from layer 0.

    Options
    -------
    edges : sequence of (int, int)
        From layer, to layer, counted from 0; a layer may feed back to itself, or ahead.
    """
    if not layers:
        raise ValueError("a stack needs at least one layer, got none")
    for edge in edges if isinstance(edges, tuple) else (edges,):
        if not isinstance(edge, tuple) or [type(end) for end in edge] != [int, int]:
            raise ValueError(f"edges are pairs (from layer, to layer) of integers, got {edge!r}")
        if not all(0 <= end < len(layers) for end in edge):
            raise ValueError(f"edge {edge} must join two of the layers 0 to {len(layers) - 1}")
        if edges.count(edge) > 1:
            raise ValueError(f"edge {edge} is given twice")
    return wired(stack, *layers, edges=edges)


def stack(net, *layers, edges):
    """The step of all layers."""
    below = {}
    for place, layer in enumerate(layers):
        fed = {f"y{i}": net.before(layers[i], f"{i}.") for i, j in edges if j == place}
        below = {"x": net.layer(layer, f"{place}.", inputs=below, beside={"x": fed})}
    return below["x"]
