"""Stacked layers."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import InputError
from rnncore.testing import close

x = np.random.default_rng(0).standard_normal((3, 5, 4))
layer = rn.cells.vanilla(4)


def layers_of(net, params):
    """Each layer as a network of its own, with its part of the parameters."""
    single = rn.Network(layer, inputs=4)
    n = sum(int(np.prod(s)) for s in single.shapes.values())
    return [(single, rn.Params(single.shapes, params.flat[k * n : (k + 1) * n])) for k in range(params.flat.size // n)]


@pytest.mark.parametrize("residual", [False, True])
def test_each_layer_reads_the_one_below(residual):
    net = rn.Network(rn.topologies.deep(layer, layer, layer, residual=residual), inputs=4)
    params = net.init(seed=1, dtype="float64")
    below = x
    for k, (single, part) in enumerate(layers_of(net, params)):
        y = single(part, below)[0]
        below = y + below if residual and k else y
    close("output", net(params, x)[0], below, 1e-13)


def test_dropout_is_between_layers_and_only_with_a_seed():
    net = rn.Network(rn.topologies.deep(layer, layer, dropout=0.5), inputs=4)
    one = rn.Network(rn.topologies.deep(layer, dropout=0.5), inputs=4)
    params, alone = net.init(), one.init()
    np.testing.assert_array_equal(one.forward(alone, x, seed=1)[0], one(alone, x)[0])
    np.testing.assert_array_equal(net.forward(params, x)[0], net(params, x)[0])
    assert not np.array_equal(net.forward(params, x, seed=1)[0], net(params, x)[0])


@pytest.mark.parametrize("build, words", [
    (lambda: rn.topologies.deep(), "at least one block"),
    (lambda: rn.topologies.deep(layer, dropout=1), "dropout must lie in"),
    (lambda: rn.topologies.deep(rn.cells.vanilla), "arranges layers and other topologies"),
    (lambda: rn.Network(rn.topologies.deep(layer, rn.cells.vanilla(3), residual=True), inputs=4), "needs equal sizes"),
])  # fmt: skip
def test_what_cannot_be_stacked(build, words):
    with pytest.raises(InputError, match=words):
        build()
