"""Networks with their parameters taken in once."""

import copy
import pickle
import threading

import numpy as np
import pytest
import stress
from wholes import GRU, LSTM, NETWORKS, inputs_of, past, same, states_of

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


@pytest.fixture
def again(monkeypatch):
    """Calls `run` until the shape's program is there, then by it alone."""

    def call(run, x, **given):
        for _ in range(2):
            run(x, **given)
        with monkeypatch.context() as m:
            m.setattr("rnncore.bound.called", None)
            return run(x, **given)

    return call


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shape_that_comes_again_gives_the_same_bits(name, again):
    own = NETWORKS[name]
    values = own.init(seed=2, dtype="float64")
    run = own.bind(values)
    for batch, time in ((1, 7), (3, 4), (17, 1)):
        data = inputs_of(own, batch, time)
        same(again(run, data), own(values, data))
        state = states_of(own, batch)
        same(again(run, data, state=state), own(values, data, state=state))
        part = dict(list(state.items())[-1:])
        same(again(run, data, state=part), own(values, data, state=part))


LONG_WAY = {name for name in NETWORKS if name == "backward end"}  # what it does with lengths is in no program


def plainly(run, data, **given):
    return run(data, **given)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_ragged_batch_of_a_shape_that_comes_again_gives_the_same_bits_whatever_its_lengths(name, again):
    own, draws = NETWORKS[name], np.random.default_rng(5)
    values = own.init(seed=2, dtype="float64")
    run = own.bind(values)
    for batch, time in ((1, 7), (3, 4), (17, 11)):
        data, state = inputs_of(own, batch, time), states_of(own, batch)
        several = [draws.integers(0, time + 1, batch) for _ in range(3)]
        for lengths in (*several, np.full(batch, time), np.zeros(batch, int), [time, *[0] * (batch - 1)]):
            given = past(data, lengths)
            call = plainly if name in LONG_WAY else again
            same(call(run, given, lengths=lengths), own(values, data, lengths=lengths))
            same(call(run, given, lengths=lengths, state=state), own(values, data, lengths=lengths, state=state))


@pytest.mark.parametrize("name", ["added", "tokens", "backward, mean", "end", "named"])
def test_one_program_serves_ragged_batches_of_any_time_up_to_its_own(name, again, monkeypatch):
    own, draws = NETWORKS[name], np.random.default_rng(3)
    values = own.init(seed=2, dtype="float64")
    run = own.bind(values)
    again(run, inputs_of(own, 5, 16), lengths=[16, 0, 3, 9, 1])
    for time in (9, 1, 16, 13, 2):
        data, lengths = inputs_of(own, 5, time), draws.integers(0, time + 1, 5)
        want = own(values, data, lengths=lengths)
        with monkeypatch.context() as m:
            if time > 8:
                m.setattr("rnncore.bound.called", None)
            same(run(past(data, lengths), lengths=lengths), want)


def test_lengths_are_checked_at_every_call(again):
    run = net.bind(params)
    again(run, x, lengths=[6, 2])
    for bad in ([6], [6, 7], [-1, 2], [6.0, 2.0], [[6, 2]]):
        with pytest.raises(InputError, match="lengths must"):
            run(x, lengths=bad)
    own = NETWORKS["tokens"]
    run, tokens = own.bind(own.init(seed=0)), inputs_of(own, 2, 3)
    again(run, tokens, lengths=[1, 3])
    tokens[1, 2] = 5
    with pytest.raises(InputError, match="tokens must lie in 0..4, got 5"):
        run(tokens, lengths=[1, 3])
    run(tokens, lengths=[1, 2])


def test_ragged_loops_that_are_worth_threads_give_the_same_bits(again, monkeypatch):
    own = rn.Network(stress.both_ways(stress.memory(24)), inputs=3, outputs=2)
    values, data = own.init(seed=0), inputs_of(own, 17, 40, "float32")
    run = own.bind(values)
    for lengths in (np.arange(17) * 2, np.full(17, 40), np.arange(40, 23, -1)):
        want = own(values, data, lengths=lengths)
        for threads in ("1", "2", "3"):
            monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
            same(again(run, data, lengths=lengths), want)


@pytest.mark.parametrize("weights", [None, "bfloat16"])
def test_it_does_so_in_float32_whatever_the_type_and_the_order_of_the_inputs(weights, again):
    values = params.astype("float32")
    for batch in (1, 3):
        data = inputs_of(net, batch, 6, "float32")
        want = net.bind(values, weights=weights)(data)
        run = net.bind(values, weights=weights)
        same(again(run, data), want)
        wide = np.zeros((batch, 6, 9))
        wide[..., ::3] = data
        for given in (data.astype(float), np.asfortranarray(data), wide[..., ::3], data[::-1].copy()[::-1]):
            kept = given.copy()
            same(again(run, given), want)
            np.testing.assert_array_equal(given, kept)
        same(run(data.tolist()), want)
        same(run(list(data)), want)


def test_loops_that_are_worth_threads_give_the_same_bits(again, monkeypatch):
    own = rn.Network(stress.both_ways(stress.memory(24)), inputs=3, outputs=2)
    values, data = own.init(seed=0), inputs_of(own, 17, 40, "float32")
    run, want = own.bind(values), own(values, data)
    written = {}
    for threads in ("1", "2", "2", "1"):
        monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
        same(again(run, data), want)
        written[threads] = run._calls.of(17, 40, False)
    assert written["1"] is not written["2"]


def test_results_are_fresh(again):
    run = net.bind(params)
    first = again(run, x)
    kept = np.copy(first[0]), {k: v.copy() for k, v in first[1].items()}
    again(run, x + 1)
    same(first, kept)
    first[0][:] = np.nan
    for value in first[1].values():
        value[:] = np.nan
    same(again(run, x), kept)


def test_what_is_wrong_is_said_at_every_call(again):
    own = NETWORKS["tokens"]
    run = own.bind(own.init(seed=0))
    tokens = inputs_of(own, 2, 3)
    again(run, tokens)
    for bad, text in ((tokens + 5, "tokens must lie in 0..4"), (tokens[0], "must have shape"), (None, "x is missing"),
                      (tokens.astype(float), "must be integer tokens")):  # fmt: skip
        with pytest.raises(InputError, match=text):
            run(bad)
    run = net.bind(params)
    again(run, x)
    for bad, text in ((x[..., :2].copy(), "must have shape"), (x[0], "must have shape"), (x + 0j, "must be numbers")):
        with pytest.raises(InputError, match=text):
            run(bad)
    with pytest.raises(InputError, match="state '0.c' must have shape"):
        run(x, state={"0.c": np.zeros((1, 5))})


def test_other_calls_between_go_their_own_way(again):
    run, deep = net.bind(params), rn.Network(stress.stacked(LSTM, GRU, dropout=0.5), inputs=3)
    values = deep.init(seed=0, dtype="float64")
    same(again(run, x), net(params, x))
    mask = np.ones((2, 6), int)
    mask[0, 2:4] = 0
    for given in ({"lengths": [6, 2]}, {"mask": mask}, {"reset": 1 - mask}, {"lengths": [0, 0]}):
        same(run(x, **given), net(params, x, **given))
    run = deep.bind(values)
    same(again(run, x), deep(values, x))
    same(run(x, seed=3), deep(values, x, seed=3))
    for empty in (x[:0], x[:, :0]):
        for _ in range(3):
            same(net.bind(params)(empty), net(params, empty))


def test_few_shapes_are_kept_and_those_that_come_once_cost_nothing(monkeypatch):
    monkeypatch.setattr("rnncore.whole._SHAPES", 8)
    run = net.bind(params)
    run(x)
    assert not run._calls._kept
    for _ in range(2):
        for time in range(1, 7):
            for batch in (1, 2):
                for _ in range(time % 2 + 1):
                    same(run(x[:batch, :time]), net(params, x[:batch, :time]))
    assert len(run._calls._kept) == 8


def test_what_is_used_often_is_kept_beside_any_number_of_others(monkeypatch):
    monkeypatch.setattr("rnncore.whole._SHAPES", 8)
    run = net.bind(params)
    for _ in range(3):
        run(x)
    (often,) = run._calls._kept.values()
    longer = np.concatenate([x, x], 1)
    for time in range(1, 13):
        for _ in range(2):
            same(run(longer[:, :time]), net(params, longer[:, :time]))
        run(x)
    assert often in run._calls._kept.values() and len(run._calls._kept) == 8


@pytest.mark.parametrize("weights", [None, "bfloat16"])
def test_a_copy_has_memory_of_its_own(weights):
    run = net.bind(net.init(seed=1), weights=weights)
    want = run(x)
    run(x)
    copies = [copy.deepcopy(run), pickle.loads(pickle.dumps(run))]
    for loop in run.loops.values():
        loop.weights.memory.array((loop.weights.memory.nbytes,), "uint8")[:] = 0
    for other in copies:
        same(other(x), want)
        same(other(x), want)


def test_threads_call_one_bound_network_at_once():
    own = rn.Network(stress.stacked(stress.memory(24), stress.gated(24)), inputs=3, outputs=2)
    values = own.init(seed=0)
    run = own.bind(values)
    data = [inputs_of(own, batch, 60, "float32") for batch in (1, 1, 9)]
    data[1] += 1
    wanted, wrong = [own(values, given) for given in data], []

    def work(k):
        for _ in range(60):
            y, state = run(data[k])
            wrong.extend(s for s, v in state.items() if not np.array_equal(v, wanted[k][1][s]))
            wrong.extend(["y"] if not np.array_equal(y, wanted[k][0]) else [])

    threads = [threading.Thread(target=work, args=(k % 3,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
