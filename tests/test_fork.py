"""A forked child, and one that is spawned: it has locks, threads and memory of its own, and the parent's kernels."""

import multiprocessing
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import objective
from rnncore.cpu import memory, pool, store
from rnncore.device_stream import DeviceStream

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning"),
]
net = rn.Network(rn.cells.gru(64), inputs=64)
params, x = net.init(seed=0), np.random.default_rng(0).standard_normal((16, 60, 64)).astype("float32")
bound, stream = net.bind(params), net.stream(params, batch=16)
translator = rn.Network(rn.topologies.encoder_decoder(rn.cells.gru(7), rn.cells.gru(7), outputs=3), inputs=3)
decoder = translator.stream(translator.init(), x=np.zeros((1, 2, 3)))
elsewhere = DeviceStream(net, params, batch=16)  # which asks nothing of a device


@pytest.fixture(autouse=True)
def three(monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "3")


def everything():
    """Inference, bound too, and every gradient, as one array."""
    y, _, tape = net.forward(params, x)
    dx, _, grads = net.backward(params, tape, y)
    return np.concatenate([a.ravel() for a in (net(params, x)[0], bound(x)[0], y, dx, grads.flat)])


def child(work, seconds=60):
    """The exit status of a forked child: 0 where `work` returned something true; None where it had to be killed."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def files():
    """How many files are open."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_a_child_computes_what_its_parent_does_on_threads_of_its_own():
    before, opened = everything(), files()
    assert pool._pool.workers

    def work():
        assert not pool._pool.workers and np.array_equal(everything(), before)
        assert files() <= opened  # the parent's threads read nothing here
        return all(w.thread.is_alive() for w in pool._pool.workers) and len(pool._pool.workers) == 2

    assert child(work) == 0
    assert child(lambda: child(work) == 0) == 0
    assert np.array_equal(everything(), before)


def test_children_while_other_threads_are_inside_calls():
    before, stop, wrong = everything(), threading.Event(), []

    def caller():
        while not stop.is_set():
            if not np.array_equal(everything(), before):
                wrong.append(1)

    callers = [threading.Thread(target=caller) for _ in range(2)]
    for thread in callers:
        thread.start()
    try:
        found = [child(lambda: np.array_equal(everything(), before), 30) for _ in range(10)]
    finally:
        stop.set()
        for thread in callers:
            thread.join()
    assert found == [0] * 10 and not wrong
    assert np.array_equal(everything(), before)


def every_lock():
    """Those of modules, but for that which a fork waits for, and one of each kind of object that has its own."""
    stream.step(x[:, 0])
    kinds = type(threading.Lock()), type(threading.RLock())
    modules = [m for name, m in sys.modules.items() if name.startswith("rnncore.") and "cuda" not in name]
    found = [lock for m in modules for lock in vars(m).values() if isinstance(lock, kinds) and lock is not store._lock]
    others = stream, elsewhere, decoder, bound._calls, net.trainings(params.dtype)
    return [*found, memory._shelf.lock, pool._pool.lock, *(one._lock for one in others)]


def test_no_lock_of_the_parents_other_threads_is_shut_in_the_child():
    locks = every_lock()
    shut, done = threading.Event(), threading.Event()

    def hold():
        for lock in locks:
            lock.acquire()
        shut.set()
        done.wait()
        for lock in locks:
            lock.release()

    def work():
        another = rn.Network(rn.topologies.bidirectional(rn.cells.gru(7)), inputs=3)  # not traced before
        another(another.init(), np.zeros((2, 3, 3)))
        objective._trace(objective.as_loss(stress.squared))
        stream.reset()
        stream.step(x[:, 0])
        elsewhere.step(x[:, 0])
        decoder.step()
        return len(everything()) and all(lock.acquire(timeout=1) for lock in every_lock())

    holder = threading.Thread(target=hold)
    holder.start()
    shut.wait()
    try:
        status = child(work, 30)
    finally:
        done.set()
        holder.join()
    assert status == 0


def test_a_fork_waits_for_what_is_being_compiled(monkeypatch):
    begun, ended = threading.Event(), []
    text = """from numba import cfunc


@cfunc("int64(int64)")
def kernel(a):
    return 3 * a + 1
"""

    def slow(*_):
        begun.set()
        time.sleep(0.5)
        ended.append(1)
        return "compiled"

    monkeypatch.setattr(store, "_from_disk", lambda key: None)
    monkeypatch.setattr(store, "_compile", slow)
    monkeypatch.setattr(store, "_loaded", {})
    compiling = threading.Thread(target=store.load_module, args=(text,))
    compiling.start()
    begun.wait()
    assert child(lambda: ended and store.load_module(text) == "compiled", 20) == 0
    compiling.join()


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_multiprocessing(how):
    want = net(params, x)[0]
    with multiprocessing.get_context(how).Pool(2) as processes:
        found = processes.starmap(net, [(params, x)] * 2)
    assert all(np.array_equal(y, want) for y, _ in found)
