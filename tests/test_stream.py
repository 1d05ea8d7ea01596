"""Networks one step at a time from Python."""

import copy
import gc
import pickle
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import stress
from stepwise import NETWORKS, at, net, params, swing, x

import rnncore as rn
from rnncore import device_stream
from rnncore.device_stream import DeviceStream
from rnncore.errors import InputError
from rnncore.testing import example, same_bits


@pytest.mark.parametrize("dtype, batch", [("float64", 1), ("float32", 3), ("float32", 17)])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_has_the_bits_of_a_call_of_one_step(name, dtype, batch):
    it = NETWORKS[name]
    e = example(it, batch=batch, time=5, dtype=dtype)
    stream, state = it.stream(e.params, batch=batch, state=e.state), e.state
    for t in range(5):
        if t == 3:  # in between, from a part of a state; the rest is what sequences start from
            path = next(iter(e.state))
            state = {path: e.state[path]}
            stream.reset(state)
        one = at(e.x, slice(t, t + 1))
        y, state = it(e.params, one, state=state)
        same_bits(f"y at step {t}", stream.step(at(e.x, t)), y if it.mode == "many-to-one" else y[:, 0])
        same_bits("state", stream.state, state)


def test_what_is_no_array_of_the_dtype_is_taken_as_a_call_takes_it():
    for dtype in ("float32", "float64"):
        stream, p = net.stream(params.astype(dtype), batch=2), params.astype(dtype)
        given = [x[:, 0], x[:, 0].astype("float32"), x[:, 0].tolist(), np.asfortranarray(x[:, 0]), x[:, 0] > 0,
                 np.array([[1, 2, 3], [4, 5, 6]], np.int8), x[:, 0, ::-1], x[:, 0].astype(">f8")]  # fmt: skip
        for value in given:
            stream.reset()
            np.testing.assert_array_equal(stream.step(value), net(p, np.asarray(value)[:, None])[0][:, 0])


def test_numbers_too_large_for_the_dtype_are_infinite_without_a_warning():
    it, large = NETWORKS["plain"], np.full((1, 3), 1e300)
    p = it.init()
    np.testing.assert_array_equal(it.stream(p).step(large), it(p, large[:, None])[0][:, 0])


def test_without_inputs():
    free = rn.Network(swing(4), inputs=None, initial_state="learned")
    p = free.init(seed=1)
    p["h0"][:] = 0.4
    stream, want = free.stream(p), free(p, steps=3)[0]
    for t in range(3):
        np.testing.assert_array_equal(stream.step(), want[:, t])
    with pytest.raises(InputError, match="has no inputs, so x must be None"):
        stream.step(x[:1, 0])


def test_a_batch_that_threads_share_has_the_same_bits(monkeypatch):
    large = rn.Network(stress.memory(64), inputs=32, outputs=8)
    e = example(large, batch=64, time=3, dtype="float32")
    got = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
        stream = large.stream(e.params, batch=64)
        got.append([stream.step(e.x[:, t]) for t in range(3)])
    same_bits("two threads", got[1], got[0])
    same_bits("three threads", got[2], got[0])
    np.testing.assert_allclose(np.stack(got[0], 1), large(e.params, e.x)[0], atol=1e-6)


def test_an_output_is_the_callers_own():
    stream = net.stream(params, batch=2)
    first = stream.step(x[:, 0])
    kept = first.copy()
    stream.step(x[:, 1])
    np.testing.assert_array_equal(first, kept)
    first[:] = np.nan
    assert np.isfinite(stream.step(x[:, 2])).all()


def test_threads_take_turns_at_one_stream():
    it = NETWORKS["deep"]
    stream, one = it.stream(params, batch=2), x[:, 0]
    want = set()
    for _ in range(200):
        want.add(stream.step(one).tobytes())
    stream.reset()
    got, lock = [], threading.Lock()

    def run():
        mine = [stream.step(one).tobytes() for _ in range(50)]
        with lock:
            got.extend(mine)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(got) == want  # every state was gone through once, whoever did


translator = rn.Network(rn.topologies.encoder_decoder(stress.gated(4), stress.gated(4), outputs=3), inputs=3)
KINDS = {
    "stream": lambda: net.stream(params, batch=2),
    "device": lambda: DeviceStream(net, params, batch=2),  # which asks nothing of a device
    "decoder": lambda: translator.stream(translator.init(seed=0, dtype="float64"), x=x),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["step", "state", "reset"])
def test_who_comes_during_a_step_waits_for_its_end(what, kind, monkeypatch):
    stream, twin, begun = KINDS[kind](), KINDS[kind](), threading.Event()
    if not hasattr(stream, what):
        pytest.skip("a decoder has written what it has written")
    given = () if kind == "decoder" else (x[:, 0],)
    do = {"step": lambda it: it.step(*given), "state": lambda it: it.state, "reset": lambda it: it.reset()}[what]

    def slow(work):
        def slowly(*given):
            begun.set()
            time.sleep(0.05)
            found = work(*given)
            time.sleep(0.05)
            return found

        return slowly

    if kind == "device":
        monkeypatch.setattr(device_stream, "infer", slow(device_stream.infer))
    elif kind == "decoder":
        stream._run.go = slow(stream._run.go)
    else:
        stream._go = slow(stream._go)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(stream.step, *given)
        begun.wait(20)
        second = threads.submit(do, stream)
    want = twin.step(*given), do(twin)
    np.testing.assert_equal((first.result(), second.result()), want)
    np.testing.assert_equal(stream.state, twin.state)


def test_streams_of_one_network_do_not_meet():
    one, other = net.stream(params, batch=2), net.stream(params, batch=2)
    first = one.step(x[:, 0])
    other.step(x[:, 1])
    one.reset()
    np.testing.assert_array_equal(one.step(x[:, 0]), first)


def test_a_wrong_step_changes_nothing():
    by_token = NETWORKS["tokens"]
    stream = by_token.stream(by_token.init())
    stream.step(np.array([1]))
    before = stream.state
    for wrong in (np.array([5]), np.array([-1]), [7], np.array([2**63], np.uint64)):
        with pytest.raises(InputError, match=r"tokens must lie in 0..4, got"):
            stream.step(wrong)
    for wrong in (np.array([1.0]), np.array([1, 2])):
        with pytest.raises(InputError):
            stream.step(wrong)
    same_bits("state", stream.state, before)


def test_several_inputs_by_name_are_checked():
    it = NETWORKS["named"]
    stream, good = it.stream(it.init(), batch=2), {"x": x[:, 0], "dt": np.ones((2, 1))}
    stream.step(good)
    for wrong, words in (
        ({"x": x[:, 0]}, "input 'dt' is missing"), ({**good, "z": x[:, 0]}, "input 'z' is unknown"),
        ({**good, "dt": np.ones((2, 2))}, r"dt of .* must have shape \(2, 1\)"), (x[:, 0], "several inputs"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            stream.step(wrong)


def test_a_stream_that_is_gone_leaves_nothing():
    stream = net.stream(params, batch=2)
    stream.step(x[:, 0])
    gone = weakref.ref(stream._steps.run)
    del stream
    gc.collect()
    assert gone() is None


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
    with pytest.raises(InputError, match=r"dt of a step of this stream must have shape \(2, 1\), got \(1, 1\)"):
        stream.step({"x": x[:, 0], "dt": dt[:1, 0]})


@pytest.mark.parametrize("step, words", [
    (x[:1, 0], r"x of a step of this stream must have shape \(2, 3\), got \(1, 3\)"), (1.0, r"got \(\)"),
    (x[:, 0, :2], r"must have shape \(2, 3\), got \(2, 2\)"),
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


@pytest.mark.parametrize("weights", [None, "bfloat16"])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))])
def test_a_copy_goes_on_by_itself(again, weights):
    own = params.astype("float32")
    path, size = next(iter(net.state_shapes.items()))
    stream = net.stream(own, batch=2, state={path: np.full((2, *size), 0.5)}, weights=weights)
    unused = again(stream)
    first = stream.step(x[:, 0])
    made = again(stream)
    want = stream.step(x[:, 1])
    stream.step(x[:, 2])
    same_bits("the copy's next step", made.step(x[:, 1]), want)
    same_bits("of a copy before the first step", unused.step(x[:, 0]), first)
    made.reset({path: np.full((2, *size), 0.5)})
    same_bits("after a reset", made.step(x[:, 0]), first)
    assert repr(made) == repr(stream) == f"<stream of {net!r}, batch 2, float32>"


def test_a_decoders_stream_shows_the_decoders_states():
    p = translator.init(seed=0)
    stream = translator.stream(p, x=x, state={"encoder.h": np.ones((2, 4)), "y": np.full((2, 3), 0.5)})
    assert stream.state.keys() == {"decoder.h", "y"} and (stream.state["y"] == 0.5).all()
    stream.step()
    assert stream.state.keys() == {"decoder.h", "y"}


AGAIN = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda stream: pickle.loads(pickle.dumps(stream)),
}


@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize("again", AGAIN)
def test_a_copy_of_a_decoders_stream_writes_on_by_itself(again, attends):
    scorer = rn.scorers.bahdanau() if attends else None
    layer = rn.topologies.encoder_decoder(stress.gated(4), stress.gated(4), outputs=3, scorer=scorer)
    it, source = rn.Network(layer, inputs=3), x.copy()
    stream = it.stream(it.init(seed=0, dtype="float64"), x=source, lengths=[6, 3])
    source[:] = np.nan  # it was read
    unused = AGAIN[again](stream)
    assert unused.alpha is None
    np.testing.assert_equal(unused.state, stream.state)
    first = stream.step()
    made = AGAIN[again](stream)
    np.testing.assert_equal((made.alpha, made.state), (stream.alpha, stream.state))
    assert (made.alpha is not None) == attends
    want = stream.step(), stream.alpha
    stream.step()
    np.testing.assert_equal((made.step(), made.alpha), want)
    same_bits("of a copy before the first step", unused.step(), first)
    assert repr(made) == f"<stream of {it!r}, batch 2, float64>"


@pytest.mark.parametrize("again", AGAIN)
def test_a_copy_of_a_devices_stream_goes_on_by_itself(again):
    stream = DeviceStream(net, params, batch=2)  # which asks nothing of a device
    unused = AGAIN[again](stream)
    first = stream.step(x[:, 0])
    made = AGAIN[again](stream)
    want = stream.step(x[:, 1])
    stream.step(x[:, 2])
    same_bits("the copy's next step", made.step(x[:, 1]), want)
    same_bits("of a copy before the first step", unused.step(x[:, 0]), first)
    made.reset()
    same_bits("after a reset", made.step(x[:, 0]), first)
