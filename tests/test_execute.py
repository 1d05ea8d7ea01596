"""Tapes, many callers at once, forks, and what becomes of the memory."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError
from rnncore.testing import example, same_bits


def big():
    """A network and a batch that several threads share."""
    net = rn.Network(stress.both_ways(stress.gated(48)), inputs=20, outputs=3)
    return net, example(net, dtype="float32", batch=24, time=50)


def everything(net, e):
    y, final, tape = net.forward(e.params, e.x, **e.given)
    return y, final, *net.backward(e.params, tape, e.dy, dstate=e.dstate)


def test_eight_python_threads_calling_one_network(monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "2")
    net, e = big()
    want, run = everything(net, e), net.bind(e.params)
    y = net(e.params, e.x, **e.given)
    problems = []

    def work():
        try:
            for _ in range(6):
                same_bits("call", everything(net, e), want)
                same_bits("bound", run(e.x, **e.given), y)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not any(t.is_alive() for t in threads) and not problems


def test_one_tape_from_several_threads():
    net, e = big()
    _, _, tape = net.forward(e.params, e.x, **e.given)
    want, results = net.backward(e.params, tape, e.dy), [None] * 4

    def work(k):
        results[k] = net.backward(e.params, tape, e.dy)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    for result in results:
        same_bits("backward", result, want)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes_with_threads_of_its_own():
    code = """
        import os, sys
        os.environ["RNNCORE_NUM_THREADS"] = "2"
        import numpy as np, rnncore as rn
        from rnncore.lang import cell, tanh
        net = rn.Network(cell(lambda w, x, h: tanh(w.h(x, h)))(96), inputs=20)
        params, x = net.init(), np.ones((24, 50, 20), "float32")
        want = net(params, x)[0]
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(net(params, x)[0], want) else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not np.array_equal(net(params, x)[0], want))
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], timeout=120)
    assert done.returncode == 0


def test_a_tape_lives_until_it_is_released():
    net = rn.Network(stress.stacked(stress.memory(7), stress.gated(5)), inputs=3)
    e = example(net)
    _, _, tape = net.forward(e.params, e.x, **e.given)
    assert tape.nbytes > 0 and "bytes" in repr(tape)
    tape.release()
    tape.release()  # once more is no mistake
    assert tape.nbytes == 0 and "released" in repr(tape)
    with pytest.raises(InputError, match="the tape has been released: run net.forward again"):
        net.backward(e.params, tape, e.dy)


@pytest.mark.parametrize("checkpoint", [None, 2])
def test_a_tape_is_not_copied(checkpoint):
    net = rn.Network(stress.gated(5), inputs=3)
    e = example(net)
    for _ in range(3):  # the second one of a shape is a program's
        _, _, tape = net.forward(e.params, e.x, checkpoint=checkpoint)
        for again in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(InputError, match="a tape cannot be copied or pickled: .*; pickle the parameters"):
                again(tape)
        net.backward(e.params, tape, np.ones(tape.shape))


def test_a_tape_that_nobody_holds_is_gone_at_once():
    net = rn.Network(stress.both_ways(stress.memory(7), merge="sum"), inputs=3)
    e = example(net)
    gc.disable()
    try:
        _, _, tape = net.forward(e.params, e.x, **e.given)
        net.backward(e.params, tape, e.dy)
        seen = weakref.ref(tape)
        del tape
        assert seen() is None
    finally:
        gc.enable()


def test_training_does_not_gather_memory():
    net = rn.Network(stress.memory(16), inputs=8, outputs=2)
    params, x = net.init(), np.ones((8, 30, 8), "float32")
    target = np.zeros((8, 30), int)

    def steps(n):
        for _ in range(n):
            net.loss_and_grad(params, x, target, loss=stress.entropy)
            y, _, _ = net.forward(params, x)

    tracemalloc.start()
    try:
        steps(5)
        before, _ = tracemalloc.get_traced_memory()
        steps(50)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000


def test_results_belong_to_the_caller():
    """Writing into what a call returned changes neither a later call nor a tape."""
    net = rn.Network(stress.memory(7), inputs=3, mode="many-to-one")
    e = example(net)
    want = everything(net, e)
    y, final, tape = net.forward(e.params, e.x, **e.given)
    y[...] = np.nan
    for array in final.values():
        array[...] = np.nan
    results = net.backward(e.params, tape, e.dy, dstate=e.dstate)
    same_bits("backward", results, want[2:])
    for array in (results[0], *results[1].values(), results[2].flat):
        array[...] = np.nan
    same_bits("a later call", everything(net, e), want)


def test_the_output_may_be_written_to_before_the_way_back():
    for net in (rn.Network(stress.gated(5), inputs=3), rn.Network(stress.gated(5), inputs=3, outputs=2)):
        e = example(net)
        want = everything(net, e)
        y, _, tape = net.forward(e.params, e.x, **e.given)
        y[...] = np.nan
        same_bits("backward", net.backward(e.params, tape, e.dy, dstate=e.dstate), want[2:])


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads(number, monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", number)
    net = rn.Network(stress.gated(5), inputs=3)
    with pytest.raises(InputError, match=f"RNNCORE_NUM_THREADS must be a positive integer, got '{number}'"):
        net(net.init(), np.zeros((2, 3, 3)))


def test_more_threads_than_sequences(monkeypatch):
    net, e = big()
    want = everything(net, e)
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "64")
    same_bits("64 threads", everything(net, e), want)


def test_dropout_comes_from_the_seed_alone():
    net = rn.Network(stress.stacked(stress.gated(6), stress.gated(5), dropout=0.5), inputs=3)
    e = example(net)
    a, b, c = (net.forward(e.params, e.x, seed=s, **e.given)[0] for s in (1, 1, 2))
    same_bits("the same seed", a, b)
    assert not np.array_equal(a, c)
    same_bits("no seed", net.forward(e.params, e.x, **e.given)[0], net(e.params, e.x, **e.given)[0])
