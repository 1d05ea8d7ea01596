"""What a caller may give as x, lengths, states and gradients, and the one clear error for everything else."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError, RnncoreError
from rnncore.testing import close
from rnncore.train import Dataset

rng = np.random.default_rng(0)
x = rng.standard_normal((4, 6, 3)).astype("float32")
net = rn.Network(stress.gated(5), inputs=3)
params = net.init(seed=1)
want = net(params, x)[0]


def strided():
    wide = np.zeros((4, 12, 7), "float32")
    wide[:, ::2, 1:7:2] = x
    return wide[:, ::2, 1:7:2]


def frozen():
    made = x.copy()
    made.setflags(write=False)
    return made


@pytest.mark.parametrize("given", [
    pytest.param(strided, id="strided"), pytest.param(frozen, id="read-only"),
    pytest.param(lambda: np.asfortranarray(x), id="fortran"),
    pytest.param(lambda: x[::-1, ::-1].copy()[::-1, ::-1], id="negative strides"),
    pytest.param(lambda: x.astype("float64"), id="float64"), pytest.param(lambda: x.astype(">f4"), id="big-endian"),
    pytest.param(lambda: x.tolist(), id="nested lists"), pytest.param(lambda: list(x), id="list of arrays"),
    pytest.param(lambda: tuple(x), id="tuple of arrays"), pytest.param(lambda: {"x": x}, id="by name"),
])  # fmt: skip
def test_the_same_numbers_in_any_form(given):
    np.testing.assert_array_equal(net(params, given())[0], want)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16", "bool", "float16"])
def test_other_numbers_are_cast(dtype):
    whole = rng.integers(0, 2, (2, 3, 3)).astype(dtype)
    np.testing.assert_array_equal(net(params, whole)[0], net(params, whole.astype("float32"))[0])


def test_a_broadcast_array_is_read_as_it_stands():
    same = np.broadcast_to(x[:1], (4, 6, 3))
    np.testing.assert_array_equal(net(params, same)[0], net(params, same.copy())[0])


def test_gradients_come_as_the_inputs_came():
    ragged = [x[b, :n] for b, n in enumerate((6, 0, 2, 5))]
    y, _, tape = net.forward(params, ragged)
    assert y.shape == (4, 6, 5)
    dx, _, grads = net.backward(params, tape, np.ones(y.shape))
    assert [d.shape for d in dx] == [(6, 3), (0, 3), (2, 3), (5, 3)]
    y2, _, tape = net.forward(params, x, lengths=[6, 0, 2, 5])
    padded, _, grads2 = net.backward(params, tape, np.ones(y.shape))
    np.testing.assert_array_equal(grads.flat, grads2.flat)
    for b, d in enumerate(dx):
        np.testing.assert_array_equal(d, padded[b, : len(d)])
        assert not padded[b, len(d) :].any()
    by_name, _, _ = net.backward(params, net.forward(params, {"x": x})[2], want)
    assert list(by_name) == ["x"] and by_name["x"].shape == x.shape


def test_lengths_may_cut_a_list_shorter():
    y, _ = net(params, [x[0], x[1, :4]], lengths=[3, 4])
    np.testing.assert_array_equal(y[0, :3], want[0, :3])
    assert y.shape == (2, 6, 5) and not y[0, 3:].any()


@pytest.mark.parametrize("lengths", [[6, 2, 0, 4], np.array([6, 2, 0, 4], "uint8"), (6, 2, 0, 4), np.arange(7)[::-2]])
def test_lengths_in_any_form(lengths):
    y, _ = net(params, x, lengths=lengths)
    for b, n in enumerate(lengths):
        np.testing.assert_array_equal(y[b, :n], want[b, :n])
        assert not y[b, n:].any()


@pytest.mark.parametrize("lengths, words", [
    ([6, 2, 7, 4], r"lengths must lie in 0\.\.6 \(the time axis of x\), got 7 at sequence 2"),
    ([6, -1, 6, 4], r"got -1 at sequence 1"),
    ([6, 2, 4], "lengths must be 4 integers, one per sequence, got int64 of shape"),
    ([6.0, 2, 4, 1], "lengths must be 4 integers, one per sequence, got float64"),
    (np.ones((4, 1), int), r"of shape \(4, 1\)"),
    (6, "lengths must be 4 integers"),
    ([[6], [2, 1]], "lengths is a ragged nested list"),
    (["6", "2", "4", "1"], "lengths must be 4 integers"),
    ([True, True, True, False], "lengths must be 4 integers"),
])  # fmt: skip
def test_wrong_lengths(lengths, words):
    for call in (lambda: net(params, x, lengths=lengths), lambda: net.forward(params, x, lengths=lengths),
                 lambda: net.bind(params)(x, lengths=lengths)):  # fmt: skip
        with pytest.raises(InputError, match=words):
            call()


@pytest.mark.parametrize("given, words", [
    (np.zeros((4, 6)), r"input 'x' must have shape \(batch, time, 3\), got \(4, 6\)$"),
    (np.zeros((4, 3)), r"\(batch, time, 3\), got \(4, 3\); a single sequence is a batch of one, x\[None\]"),
    (np.zeros((4, 6, 2)), r"got \(4, 6, 2\)"),
    (np.zeros(3), r"got \(3,\)"),
    (1.0, r"got \(\)"),
    (np.zeros((4, 6, 3), complex), "must be numbers, got dtype complex128"),
    (np.full((4, 6, 3), "a"), "must be numbers"),
    (np.full((4, 6, 3), None), "must be numbers, got dtype object"),
    (None, "x is missing"),
    ([[1.0], [1.0, 2.0]], "ragged nested list"),
    ([np.zeros((2, 3)), np.zeros((2, 4))], r"sequence 1 of input 'x' must have shape \(time, 3\), got \(2, 4\)"),
    ([np.zeros(3)], r"sequence 0 of input 'x' must have shape \(time, 3\), got \(3,\)"),
    ({"u": x}, "input 'x' is missing"),
    ({"x": x, "u": x}, "input 'u' is unknown; this network reads x"),
])  # fmt: skip
def test_wrong_inputs(given, words):
    for call in (lambda: net(params, given), lambda: net.forward(params, given)):
        with pytest.raises(InputError, match=words):
            call()


def test_a_list_shorter_than_its_length():
    with pytest.raises(InputError, match="length 6 of sequence 1 exceeds its 4 steps"):
        net(params, [x[0], x[1, :4]], lengths=[3, 6])


@pytest.mark.parametrize("state, words", [
    ({"c": np.zeros((4, 5))}, "state 'c' is unknown; this network has h"),
    ({"h": np.zeros((4, 6))}, r"state 'h' must have shape \(4, 5\), got \(4, 6\)"),
    ({"h": np.zeros(5)}, r"got \(5,\)"),
    (np.zeros((4, 5)), "state must be a mapping from state name to array, got ndarray"),
    ({"h": np.zeros((4, 5), complex)}, "must be numbers"),
    ({"h": np.full((4, 5), "a")}, "must be numbers"),
])  # fmt: skip
def test_wrong_states(state, words):
    tape = net.forward(params, x)[2]
    for call in (lambda: net(params, x, state=state), lambda: net.forward(params, x, state=state),
                 lambda: net.backward(params, tape, want, dstate=state)):  # fmt: skip
        with pytest.raises(InputError, match=words):
            call()


@pytest.mark.parametrize("dy, words", [
    (np.zeros((4, 6, 4)), r"dy must have the shape of y, \(4, 6, 5\), got \(4, 6, 4\)"),
    (np.zeros((4, 5)), "dy must have the shape of y"),
    (np.zeros((4, 6, 5), complex), "dy must be numbers"),
    (np.full((4, 6, 5), "a"), "dy must be numbers"),
    (1.0, "dy must have the shape of y"),
])  # fmt: skip
def test_wrong_gradients(dy, words):
    with pytest.raises(InputError, match=words):
        net.backward(params, net.forward(params, x)[2], dy)


def test_a_gradient_in_any_form():
    tape = net.forward(params, x)[2]
    exact = net.backward(params, tape, want)
    for dy in (want.astype("float64"), np.asfortranarray(want), want.tolist()):
        np.testing.assert_array_equal(net.backward(params, tape, dy)[2].flat, exact[2].flat)
    zero = net.backward(params, tape)
    assert not zero[0].any() and not zero[2].flat.any()


def test_wrong_tapes():
    tape = net.forward(params, x)[2]
    with pytest.raises(InputError, match="tape must be what net.forward returned, got str"):
        net.backward(params, "tape", want)
    with pytest.raises(InputError, match="the tape was made with float32 parameters, got float64"):
        net.backward(params.astype("float64"), tape, want)
    other = rn.Network(stress.gated(5), inputs=3, initial_state="learned")
    with pytest.raises(InputError, match="the tape is of another network"):
        other.backward(other.init(), tape, want)


def test_several_inputs_by_name():
    both = rn.Network(stress.elapsed(4), inputs={"x": 3, "dt": 1})
    p = both.init(dtype="float64")
    dt = np.abs(rng.standard_normal((4, 6, 1)))
    y, _, tape = both.forward(p, {"dt": dt, "x": x})
    dx, _, _ = both.backward(p, tape, y)
    assert {k: v.shape for k, v in dx.items()} == {"x": (4, 6, 3), "dt": (4, 6, 1)}
    lists = {"x": list(x), "dt": list(dt)}
    np.testing.assert_array_equal(both(p, lists)[0], y)
    for given, words in [
        (x, "this network reads several inputs; give a mapping with the keys x, dt"),
        ({"x": x}, "input 'dt' is missing; this network reads x, dt"),
        ({"x": x, "dt": dt[:, :5]}, r"\(batch, time\) = \(4, 5\), another input has \(4, 6\)"),
        ({"x": x, "dt": dt[..., 0]}, r"input 'dt' must have shape \(batch, time, 1\)"),
        ({"x": list(x), "dt": [dt[0], dt[1], dt[2], dt[3, :2]]}, "differ in length from those of another input"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=words):
            both(p, given)


def test_tokens_are_one_hot_rows():
    by_token = rn.Network(stress.memory(6), inputs=rn.Tokens(7), outputs=2)
    dense = rn.Network(stress.memory(6), inputs=7, outputs=2)
    p = by_token.init(seed=3, dtype="float64")
    assert by_token.shapes == dense.shapes
    tokens, lengths = rng.integers(0, 7, (5, 8)), np.array([8, 3, 0, 1, 8])
    y, state, tape = by_token.forward(p, tokens, lengths=lengths)
    y2, state2, tape2 = dense.forward(p, np.eye(7)[tokens], lengths=lengths)
    close("output", y, y2, 1e-14)
    dx, _, grads = by_token.backward(p, tape, y)
    assert dx is None
    close("gradients", grads.flat, dense.backward(p, tape2, y)[2].flat, 1e-13)
    listed = [tokens[b, :n].tolist() for b, n in enumerate(lengths)]
    np.testing.assert_array_equal(by_token(p, [np.array(t, int) for t in listed])[0], y)
    np.testing.assert_array_equal(by_token(p, tokens.astype("uint8"), lengths=lengths)[0], y)


@pytest.mark.parametrize("given, words", [
    ([[0, 7]], r"tokens must lie in 0\.\.6, got 7"), ([[0, -1]], "got -1"), ([[0.0, 1.0]], "must be integer tokens"),
    ([[[0, 1]]], r"input 'x' must have shape \(batch, time\)"), ([0, 1], r"got \(2,\)"),
])  # fmt: skip
def test_wrong_tokens(given, words):
    by_token = rn.Network(stress.memory(6), inputs=rn.Tokens(7))
    with pytest.raises(InputError, match=words):
        by_token(by_token.init(), given)


def test_a_token_past_a_length_is_not_read():
    by_token = rn.Network(stress.memory(6), inputs=rn.Tokens(7))
    by_token(by_token.init(), [[0, 1, 99], [1, -5, -5]], lengths=[2, 1])


def test_tokens_are_refused_where_a_cell_reads_x_as_numbers():
    with pytest.raises(RnncoreError, match="[Tt]oken"):
        rn.Network(stress.gru_d(3), inputs=rn.Tokens(3))


def test_no_input_at_all_is_told_so():
    net = rn.Network(rn.cells.vanilla(3), inputs=2)
    with pytest.raises(rn.errors.InputError, match="x is missing; this network reads x"):
        net(net.init())


def test_a_vector_of_objects_is_a_list_of_sequences():
    boxed, targets = np.empty(4, object), np.empty(4, object)
    boxed[:], targets[:] = [x[b, :n] for b, n in enumerate((6, 0, 2, 5))], [np.ones((n, 5)) for n in (6, 0, 2, 5)]
    for call in (net, net.bind(params)):
        given = (params,) if call is net else ()
        np.testing.assert_array_equal(call(*given, boxed)[0], call(*given, list(boxed))[0])
    found, asked = (
        net.loss_and_grad(params, x_, t, loss=stress.squared)[0]
        for x_, t in ((boxed, targets), (list(boxed), list(targets)))
    )
    assert found == asked


@pytest.mark.parametrize("given", [
    pytest.param(lambda m: net(params, m), id="an array"), pytest.param(lambda m: net(params, list(m)), id="a list"),
    pytest.param(lambda m: net(params, x, state={"h": m[:, 0, :1].repeat(5, 1)}), id="a state"),
    pytest.param(lambda m: Dataset(m), id="a data set"), pytest.param(lambda m: Dataset(list(m)), id="a list of it"),
    pytest.param(lambda m: net.loss(params, x, m[..., :1].repeat(5, 2), loss=stress.squared), id="targets"),
])  # fmt: skip
def test_masked_elements_have_no_value(given):
    hidden = np.ma.masked_array(x, np.zeros(x.shape, bool))
    np.testing.assert_array_equal(net(params, hidden)[0], want)
    hidden[2, 3] = np.ma.masked
    hidden[:, 0] = np.ma.masked
    with pytest.raises(InputError, match="has masked elements, which have no value: fill them"):
        given(hidden)


def test_a_single_sequence_of_tokens_is_told_what_it_lacks():
    words = rn.Network(stress.gated(5), inputs=rn.Tokens(4))
    with pytest.raises(InputError, match=r"must have shape \(batch, time\), got \(3,\); a single .* x\[None\]"):
        words(words.init(), np.array([1, 2, 3]))
