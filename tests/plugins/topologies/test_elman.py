"""Feedback within the layer: what a bare layer does."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import InputError


def test_it_is_what_a_bare_layer_does():
    bare, named = (rn.Network(a, inputs=3) for a in (rn.cells.gru(4), rn.topologies.elman(rn.cells.gru(4))))
    assert bare.shapes == named.shapes and bare.state_shapes == named.state_shapes
    params, x = bare.init(), np.ones((2, 3, 3))
    np.testing.assert_array_equal(bare(params, x)[0], named(params, x)[0])


def test_it_takes_one_layer():
    with pytest.raises(InputError, match="a loop needs a layer"):
        rn.topologies.elman(rn.topologies.bidirectional(rn.cells.gru(4)))
    with pytest.raises(InputError, match="got 2 blocks"):
        rn.topologies.elman(rn.cells.gru(4), rn.cells.gru(4))
