"""Networks with their parameters taken in once, and one step at a time."""

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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_stream_gives_the_whole_step_by_step(dtype):
    p = params.astype(dtype)
    want, final = net(p, x)
    stream = net.stream(p, batch=2)
    for t in range(6):
        y = stream.step(x[:, t])
        assert y.shape == (2, 2) and y.dtype == dtype
        np.testing.assert_allclose(y, want[:, t], rtol=1e-5 if dtype == "float32" else 1e-12)
    for path, value in stream.state.items():
        np.testing.assert_allclose(value, final[path], rtol=1e-5 if dtype == "float32" else 1e-12)


def test_a_stream_starts_again_and_from_a_given_state():
    stream = net.stream(params, batch=2)
    assert stream.state is None
    first = stream.step(x[:, 0])
    second = stream.step(x[:, 1])
    middle = stream.state
    stream.reset()
    np.testing.assert_array_equal(stream.step(x[:, 0]), first)
    stream.reset(middle)
    assert not np.array_equal(stream.step(x[:, 1]), second)
    again = net.stream(params, batch=2, state=middle)
    np.testing.assert_array_equal(again.step(x[:, 2]), net(params, x[:, 2:3], state=middle)[0][:, 0])


def test_the_state_that_a_stream_shows_is_a_copy():
    stream = net.stream(params, batch=2)
    stream.step(x[:, 0])
    stream.state["1.h"][:] = np.nan
    assert np.isfinite(stream.step(x[:, 1])).all()


def test_a_stream_of_one_sequence_and_of_tokens():
    assert net.stream(params).step(x[:1, 0]).shape == (1, 2)
    by_token = rn.Network(stress.gated(4), inputs=rn.Tokens(5))
    p, tokens = by_token.init(), np.array([[1, 4, 0]])
    stream = by_token.stream(p)
    for t in range(3):
        np.testing.assert_allclose(stream.step(tokens[:, t]), by_token(p, tokens)[0][:, t], rtol=1e-5)


def test_a_stream_of_several_inputs():
    named = rn.Network(stress.elapsed(4), inputs={"x": 3, "dt": 1})
    p, dt = named.init(), np.ones((2, 6, 1))
    stream = named.stream(p, batch=2)
    for t in range(6):
        y = stream.step({"x": x[:, t], "dt": dt[:, t]})
    np.testing.assert_allclose(y, named(p, {"x": x, "dt": dt})[0][:, -1], rtol=1e-5)
    with pytest.raises(InputError, match=r"needs 2 sequences, got shape \(1, 1\)"):
        stream.step({"x": x[:, 0], "dt": dt[:1, 0]})


@pytest.mark.parametrize("step, words", [
    (x[:1, 0], r"a step of this stream needs 2 sequences, got shape \(1, 3\)"), (1.0, r"got shape \(\)"),
    (x[:, 0, :2], "input 'x' must have shape"),
])  # fmt: skip
def test_wrong_steps(step, words):
    stream = net.stream(params, batch=2)
    with pytest.raises(InputError, match=words):
        stream.step(step)
    stream.step(x[:, 0])


@pytest.mark.parametrize("batch", [0, -1, 1.5, True])
def test_a_batch_must_be_a_positive_integer(batch):
    with pytest.raises(InputError, match="batch must be a positive integer"):
        net.stream(params, batch=batch)


def test_what_reads_backward_cannot_stream():
    both = rn.Network(stress.stacked(stress.gated(4), stress.both_ways(stress.gated(4))), inputs=3)
    with pytest.raises(InputError, match="reads backward in time cannot stream"):
        both.stream(both.init())


def test_a_wrong_state_for_a_stream():
    with pytest.raises(InputError, match=r"state '1.h' must have shape \(2, 4\), got \(1, 4\)"):
        net.stream(params, batch=2, state={"1.h": np.zeros((1, 4))})
