"""Networks that go one step at a time: what the tests of streams and of steppers share."""

import numpy as np
import stress

import rnncore as rn
from rnncore.combine import join, topology
from rnncore.lang import cell, tanh

rng = np.random.default_rng(0)
x = rng.standard_normal((2, 6, 3))
net = rn.Network(stress.stacked(stress.memory(5), stress.gated(4)), inputs=3, outputs=2, initial_state="learned")
params = net.init(seed=1, dtype="float64")
params["0.h0"][:] = 0.3


@cell
def swing(w, h):
    """A recurrence without inputs."""
    return tanh(w.h(h))


@topology
def beside(first, second, *, merge="concat"):
    """Two layers that read the same."""
    return join(merge, first=first, second=second)


NETWORKS = {
    "plain": rn.Network(stress.memory(5), inputs=3),
    "deep": net,
    "residual": rn.Network(stress.stacked(*[stress.gated(4)] * 3, residual=True), inputs=3, outputs=2),
    "end": rn.Network(stress.stacked(stress.memory(5), stress.gated(4)), inputs=3, mode="many-to-one", outputs=3),
    "separate": rn.Network(stress.lstmp(6), inputs=3, mode="many-to-one"),
    "own readout": rn.Network(rn.topologies.jordan(stress.gated(5), outputs=3, activation="tanh"), inputs=3),
    "edges": rn.Network(rn.topologies.feedback(stress.gated(5), stress.simple(4), edges=((1, 0),)), inputs=3),
    "tokens": rn.Network(stress.stacked(stress.gated(4), stress.memory(3)), inputs=rn.Tokens(5), outputs=5),
    "named": rn.Network(stress.elapsed(4), inputs={"x": 3, "dt": 1}),
    "named, deep": rn.Network(stress.stacked(stress.elapsed(4), stress.elapsed(3)), inputs={"x": 3, "dt": 1}),
    "merged": rn.Network(
        stress.stacked(beside(stress.gated(4), stress.memory(4), merge="mean"), stress.gated(3)), inputs=3
    ),
    "added": rn.Network(beside(stress.gated(4), stress.memory(4), merge="sum"), inputs=3, mode="many-to-one"),
    "beside": rn.Network(beside(stress.gated(4), beside(stress.memory(3), stress.gated(2))), inputs=3, outputs=2),
}  # fmt: skip


def at(x, t):
    """What the steps of a sequence are at one of them."""
    return {name: v[:, t] for name, v in x.items()} if isinstance(x, dict) else x[:, t]
