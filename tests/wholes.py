"""Networks of every topology, and what is given to whole calls of them."""

import numpy as np
import stepwise
import stress

import rnncore as rn
from rnncore.combine import chain, join, reverse, topology


@topology
def turned(*layers, merge=None):
    """Layers over one another, from the end to the start; with a merge, two of them, one turned again."""
    inner = chain(*layers, residual=True)
    return reverse(inner if merge is None else join(merge, a=chain(*layers), b=reverse(layers[0])))


GRU, LSTM = stress.gated(4), stress.memory(4)
NETWORKS = stepwise.NETWORKS | {
    "both ways": rn.Network(stress.both_ways(LSTM), inputs=3, outputs=2),
    "both ends": rn.Network(stress.both_ways(LSTM, merge="mean"), inputs=3, mode="many-to-one"),
    "backward": rn.Network(turned(GRU, GRU, GRU), inputs=3),
    "backward end": rn.Network(turned(GRU, GRU), inputs=3, mode="many-to-one"),
    "backward, added": rn.Network(stress.stacked(turned(GRU, LSTM, merge="sum"), GRU), inputs=3, outputs=2),
    "backward, mean": rn.Network(turned(GRU, LSTM, merge="mean"), inputs=3),
    "backward, named": rn.Network(turned(stress.elapsed(4), stress.elapsed(4)), inputs={"x": 3, "dt": 1}),
    "backward tokens": rn.Network(turned(GRU, GRU), inputs=rn.Tokens(5), outputs=5),
}  # fmt: skip


def inputs_of(net, batch, time, dtype="float64"):
    own = np.random.default_rng(batch * time)
    if isinstance(net.inputs, rn.Tokens):
        return own.integers(0, 5, (batch, time))
    made = {name: own.standard_normal((batch, time, n)).astype(dtype) for name, n in net.sizes.items()}
    return made if len(made) > 1 else made["x"]


def states_of(net, batch):
    return {path: np.full((batch, n), 0.1 * k) for k, (path, (n,)) in enumerate(net.state_shapes.items(), 1)}


def same(a, b):
    assert list(a[1]) == list(b[1])
    np.testing.assert_equal(a, b)
    for one, other in zip((a[0], *a[1].values()), (b[0], *b[1].values()), strict=True):
        assert one.dtype == other.dtype and one.flags.c_contiguous and one.flags.writeable


def past(data, lengths):
    """Inputs with what must not be read past the lengths."""
    if isinstance(data, dict):
        return {name: past(one, lengths) for name, one in data.items()}
    outside = np.arange(data.shape[1]) >= np.asarray(lengths)[:, None]
    return np.where(
        outside.reshape(*outside.shape, *[1] * (data.ndim - 2)), -1 if data.dtype.kind == "i" else np.nan, data
    )
