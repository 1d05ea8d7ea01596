"""Networks with their parameters taken in once."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError

rng = np.random.default_rng(0)
x = rng.standard_normal((2, 6, 3))
net = rn.Network(stress.stacked(stress.memory(5), stress.gated(4)), inputs=3, outputs=2, initial_state="learned")
params = net.init(seed=1, dtype="float64")
params["0.h0"][:] = 0.3


def test_a_bound_network_takes_what_the_network_takes():
    run = net.bind(params)
    state = {"0.c": np.ones((2, 5))}
    for given in ({}, {"lengths": [6, 2]}, {"state": state}):
        for a, b in zip(run(x, **given), net(params, x, **given), strict=True):
            np.testing.assert_equal(a, b)
    np.testing.assert_array_equal(run(list(x))[0], net(params, x)[0])
    with pytest.raises(InputError, match="input 'x' must have shape"):
        run(x[..., :2])
    assert "bound to" in repr(run)


def test_a_bound_network_is_a_snapshot():
    own = params.copy()
    run = net.bind(own)
    want = run(x)[0]
    own.flat[:] = 0
    np.testing.assert_array_equal(run(x)[0], want)
