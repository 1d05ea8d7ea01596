"""Training steps of a shape that comes again: one program forward and one back, with the bits of the long way."""

import copy
import pickle
import threading

import numpy as np
import pytest
import stress
from wholes import NETWORKS, inputs_of, past, same, states_of

import rnncore as rn
from rnncore.errors import InputError

net, x = NETWORKS["deep"], np.random.default_rng(0).standard_normal((2, 6, 3))
params = net.init(seed=1, dtype="float64")
params["0.h0"][:] = 0.3


def step(net, params, x, dstate=None, dy=True, **given):
    """Everything that a training step gives."""
    y, state, tape = net.forward(params, x, **given)
    wave = np.cos(np.arange(y.size, dtype="float32")).reshape(y.shape)
    dx, dstart, grads = net.backward(params, tape, wave if dy else None, dstate=dstate)
    tape.release()
    return y, state, dx, dstart, grads.flat


@pytest.fixture
def again(monkeypatch):
    """Calls `do` until the programs are there, then by them alone."""

    def call(do, *args, **given):
        for _ in range(2):
            do(*args, **given)
        with monkeypatch.context() as m:
            m.setattr("rnncore.execute._start", None)
            return do(*args, **given)

    return call


def fresh(net):
    """The network, with no programs."""
    return copy.copy(net)


LONG_WAY = {"named", "named, deep", "backward, named"}  # parameters go through functions of their own


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in LONG_WAY])
def test_a_training_step_of_a_shape_that_comes_again_gives_the_same_bits(name, dtype, again):
    own = NETWORKS[name]
    values = own.init(seed=2, dtype=dtype)
    for batch, time in ((1, 7), (3, 4), (17, 1)):
        data, state = inputs_of(own, batch, time, dtype), states_of(own, batch)
        for given in ({}, {"state": state}, {"state": dict(list(state.items())[-1:]), "dstate": state}, {"dy": False}):
            np.testing.assert_equal(again(step, own, values, data, **given), step(fresh(own), values, data, **given))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("loss", ["mean_squared", "cross_entropy"])
def test_a_loss_and_its_gradient_do_so(name, loss, again):
    own = NETWORKS[name]
    values, data = own.init(seed=2, dtype="float64"), inputs_of(own, 3, 4)
    lead, outputs = (3, 4) if own.per_step else (3,), own.outputs or own.features
    target = np.zeros(lead, int) if loss == "cross_entropy" else np.ones((*lead, outputs))

    def work(own):
        value, grads = own.loss_and_grad(values, data, target, loss=loss)
        return value, grads.flat

    if name in LONG_WAY:
        np.testing.assert_equal([work(own), work(own), work(own)][2], work(fresh(own)))
    else:
        np.testing.assert_equal(again(work, own), work(fresh(own)))


def ragged(own, values, data, lengths, **given):
    """As `step`, where what must not be read is no number."""
    dy = np.cos(np.arange(data_size(own, data), dtype="float32")).reshape(len(lengths), -1, own.outputs or own.features)
    if own.per_step:
        dy = past(dy, lengths)
    y, state, tape = own.forward(values, past(data, lengths), lengths=lengths, **given)
    found = own.backward(values, tape, dy if own.per_step else dy[:, 0])
    tape.release()
    return y, state, *found[:2], found[2].flat


def data_size(own, data):
    some = next(iter(data.values())) if isinstance(data, dict) else data
    return some.shape[0] * some.shape[1] * (own.outputs or own.features)


IN_TURN = {"backward end"}  # what it does with lengths is in no program


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in LONG_WAY])
def test_a_ragged_training_step_gives_the_same_bits_whatever_its_lengths(name, dtype, again):
    own, draws = NETWORKS[name], np.random.default_rng(5)
    values = own.init(seed=2, dtype=dtype)
    for batch, time in ((1, 7), (3, 4), (17, 11)):
        data, state, net = inputs_of(own, batch, time, dtype), states_of(own, batch), fresh(own)
        several = [draws.integers(0, time + 1, batch) for _ in range(3)]
        for lengths in (*several, np.full(batch, time), np.zeros(batch, int), [time, *[0] * (batch - 1)]):
            for given in ({}, {"state": state}):
                work = (net, values, data, lengths)
                got = ragged(*work, **given) if name in IN_TURN else again(ragged, *work, **given)
                np.testing.assert_equal(got, ragged(fresh(own), *work[1:], **given))


@pytest.mark.parametrize("name", ["deep", "tokens", "end", "both ways"])
def test_a_ragged_loss_and_its_gradient_do_so(name, again):
    own = NETWORKS[name]
    values, data, lengths = own.init(seed=2, dtype="float64"), inputs_of(own, 3, 4), [2, 0, 4]
    outputs = own.outputs or own.features
    target = np.ones((3, 4, outputs) if own.per_step else (3, outputs))

    def work(own):
        value, grads = own.loss_and_grad(values, past(data, lengths), target, loss="mean_squared", lengths=lengths)
        return value, grads.flat

    np.testing.assert_equal(again(work, own), work(fresh(own)))


def test_ragged_gradients_are_summed_over_the_chunks_that_the_rows_there_are_make(again):
    own = rn.Network(stress.stacked(stress.memory(24), stress.gated(24)), inputs=3, outputs=2)
    values, data, draws = own.init(seed=0), inputs_of(own, 40, 150, "float32"), np.random.default_rng(1)
    for most in (150, 149, 60, 5, 150):
        lengths = draws.integers(0, most + 1, 40)
        want = ragged(fresh(own), values, data, lengths)
        np.testing.assert_equal(again(ragged, own, values, data, lengths), want)


def test_ragged_loops_that_are_worth_threads_give_the_same_bits(again, monkeypatch):
    own = rn.Network(stress.both_ways(stress.memory(24)), inputs=3, outputs=2)
    values, data = own.init(seed=0), inputs_of(own, 17, 40, "float32")
    for lengths in (np.arange(17) * 2, np.full(17, 40), np.arange(40, 23, -1)):
        want = ragged(fresh(own), values, data, lengths)
        for threads in ("1", "2", "3"):
            monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
            np.testing.assert_equal(again(ragged, own, values, data, lengths), want)


@pytest.mark.parametrize("name", ["added", "tokens", "backward, mean", "end", "both ways"])
def test_one_program_serves_ragged_batches_of_any_time_up_to_its_own(name, again, monkeypatch):
    own, draws = NETWORKS[name], np.random.default_rng(3)
    values, net = own.init(seed=2, dtype="float64"), fresh(own)
    again(ragged, net, values, inputs_of(own, 5, 16), [16, 0, 3, 9, 1])
    for time in (9, 1, 16, 13, 2):
        data, lengths = inputs_of(own, 5, time), draws.integers(0, time + 1, 5)
        want = ragged(fresh(own), values, data, lengths)
        with monkeypatch.context() as m:
            if time > 8:
                m.setattr("rnncore.execute._start", None)
            np.testing.assert_equal(ragged(net, values, data, lengths), want)


def test_lengths_are_checked_at_every_training_step(again):
    own = fresh(NETWORKS["tokens"])
    values, tokens = own.init(seed=0), inputs_of(own, 2, 3)
    again(step, own, values, tokens, lengths=[1, 3])
    for bad in ([3], [3, 4], [-1, 2], [3.0, 2.0], [[3, 2]]):
        with pytest.raises(InputError, match="lengths must"):
            own.forward(values, tokens, lengths=bad)
    tokens[1, 2] = 5
    with pytest.raises(InputError, match="tokens must lie in 0..4, got 5"):
        own.forward(values, tokens, lengths=[1, 3])
    own.forward(values, tokens, lengths=[1, 2])


@pytest.mark.parametrize("name", sorted(LONG_WAY))
def test_parameters_that_go_through_functions_go_the_long_way(name):
    own = NETWORKS[name]
    values, data = own.init(seed=2), inputs_of(own, 3, 4)
    np.testing.assert_equal([step(own, values, data) for _ in range(3)][2], step(fresh(own), values, data))


def test_several_inputs_come_back_by_name(again):
    own = rn.Network(rn.topologies.deep(stress.gated(4), stress.gated(3)), inputs={"x": 3})
    values = own.init(seed=0, dtype="float64")
    got, want = again(step, own, values, {"x": x}), step(fresh(own), values, {"x": x})
    np.testing.assert_equal(got, want)
    assert list(got[2]) == ["x"] and got[2]["x"].shape == x.shape


def test_the_tape_of_a_program_is_a_tape(again):
    own = fresh(net)
    again(step, own, params, x)
    y, _, tape = own.forward(params, x)
    first = own.backward(params, tape, y)
    np.testing.assert_equal(own.backward(params, tape, y)[2].flat, first[2].flat)
    other = params.with_flat(params.flat * 2)
    again_at = [own.backward(p, tape, y)[2].flat for p in (other, params)]
    np.testing.assert_array_equal(again_at[1], first[2].flat)
    assert not np.array_equal(*again_at) and tape.nbytes > 0 and "2 sequences" in repr(tape)
    for bad, text in ((y[:1], "dy must have the shape of y"), (y + 0j, "dy must be numbers")):
        with pytest.raises(InputError, match=text):
            own.backward(params, tape, bad)
    with pytest.raises(InputError, match="tape was made with float64 parameters"):
        own.backward(params.astype("float32"), tape, y)
    with pytest.raises(InputError, match="the tape is of another network"):
        NETWORKS["plain"].backward(NETWORKS["plain"].init(dtype="float64"), tape, y)
    tape.release()
    tape.release()
    assert tape.nbytes == 0 and "released" in repr(tape)
    with pytest.raises(InputError, match="the tape has been released"):
        own.backward(params, tape, y)


def test_what_is_wrong_is_said_at_every_call(again):
    own = fresh(NETWORKS["tokens"])
    values, tokens = own.init(seed=0), inputs_of(own, 2, 3)
    again(step, own, values, tokens)
    for bad, text in ((tokens + 5, "tokens must lie in 0..4"), (tokens[0], "must have shape"), (None, "x is missing")):
        with pytest.raises(InputError, match=text):
            own.forward(values, bad)
    with pytest.raises(InputError, match="params"):
        own.forward(net.init(), tokens)


def test_other_calls_between_go_their_own_way(again):
    deep = rn.Network(stress.stacked(stress.gated(4), stress.gated(4), dropout=0.5), inputs=3)
    values, mask = deep.init(seed=0, dtype="float64"), np.ones((2, 6), int)
    mask[0, 2:4] = 0
    again(step, deep, values, x)
    for given in ({"seed": 3}, {"lengths": [6, 2]}, {"mask": mask}, {"reset": 1 - mask}, {"checkpoint": 2}):
        np.testing.assert_equal(step(deep, values, x, **given), step(fresh(deep), values, x, **given))
    for empty in (x[:0], x[:, :0]):
        for _ in range(3):
            np.testing.assert_equal(step(deep, values, empty), step(fresh(deep), values, empty))


def test_few_shapes_are_kept_and_nothing_of_them_travels(monkeypatch):
    monkeypatch.setattr("rnncore.whole._SHAPES", 8)
    own = fresh(net)
    for time in range(1, 13):
        for _ in range(2):
            step(own, params, np.concatenate([x, x], 1)[:, :time])
    assert len(own.trainings(params.dtype)._kept) == 8
    for other in (pickle.loads(pickle.dumps(own)), copy.deepcopy(own), copy.copy(own)):
        assert other == own and "_programs" not in vars(other)
        np.testing.assert_equal(step(other, params, x), step(own, params, x))


def test_results_are_fresh(again):
    own = fresh(net)
    first = again(step, own, params, x)
    kept = copy.deepcopy(first)
    again(step, own, params, x + 1)
    np.testing.assert_equal(first, kept)
    same(first[:2], kept[:2])


def test_large_weights_go_the_long_way(monkeypatch):
    monkeypatch.setattr("rnncore.cpu.stepping._PACKED_BYTES", 100)
    own = fresh(net)
    got = [step(own, params, x) for _ in range(3)]
    assert not own.trainings(params.dtype)._kept
    np.testing.assert_equal(got[2], got[0])


def test_weights_that_are_worth_threads_give_the_same_bits(again, monkeypatch):
    monkeypatch.setattr("rnncore.cpu.stepping.PARALLEL_BYTES", 100)
    own = rn.Network(stress.both_ways(stress.memory(40)), inputs=3)
    values, data = own.init(seed=0), inputs_of(own, 33, 20, "float32")
    want = step(fresh(own), values, data)
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
        np.testing.assert_equal(again(step, own, values, data), want)


def test_loops_that_are_worth_threads_give_the_same_bits(again, monkeypatch):
    own = rn.Network(stress.both_ways(stress.memory(24)), inputs=3, outputs=2)
    values, data = own.init(seed=0), inputs_of(own, 17, 40, "float32")
    want = step(fresh(own), values, data)
    for threads in ("1", "2", "3", "1"):
        monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
        np.testing.assert_equal(again(step, own, values, data), want)


def test_threads_train_with_one_network_at_once():
    """Full batches and ragged ones, whose lengths come with each call, so that some share their program."""
    own = rn.Network(stress.stacked(stress.memory(24), stress.gated(24)), inputs=3, outputs=2)
    values, one, more = own.init(seed=0), inputs_of(own, 1, 60, "float32"), inputs_of(own, 9, 60, "float32")
    ends = [{"lengths": lengths} for lengths in (np.arange(9) * 7, np.arange(60, 51, -1))]
    work = [(one, {}), (one + 1, {}), (more, {}), *((more, end) for end in ends)]
    wanted, wrong = [step(fresh(own), values, data, **given) for data, given in work], []

    def caller(k):
        for _ in range(30):
            got = step(own, values, work[k][0], **work[k][1])
            wrong.extend((k, i) for i in (0, 2, 4) if not np.array_equal(got[i], wanted[k][i]))

    threads = [threading.Thread(target=caller, args=(k % len(work),)) for k in range(2 * len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_program_packs_what_the_parameters_are_at_the_call(again):
    own, values = fresh(net), params.copy()
    again(step, own, values, x)
    values.flat[:] *= 0.5
    np.testing.assert_equal(again(step, own, values, x), step(fresh(own), values, x))
