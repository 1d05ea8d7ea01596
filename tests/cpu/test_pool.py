"""Threads of a call: everything is done whoever comes, once, and nobody is waited for who has not begun."""

import copy
import ctypes
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from numba import cfunc, types

import rnncore as rn
from rnncore.cpu import limits, pool
from rnncore.cpu.atomics import fetch_add, load_acquire
from rnncore.cpu.call import Call
from rnncore.cpu.emit import TURN
from rnncore.cpu.lanes import call, load_int, store_int
from rnncore.cpu.memory import address_of
from rnncore.cpu.pool import run_team, wait_address

TASKS = 64
call_five = call(5)


@cfunc(types.void(types.int64, types.int64))
def mark(job, part):
    """Each task marks its place with the part that did it; a task spins `effort` times."""
    turn, marks, wait, effort = load_int(job), load_int(job + 8), load_int(job + 16), load_int(job + 24)
    task = fetch_add(turn, 1)
    while task < 64:
        for _ in range(effort):
            load_acquire(turn)
        store_int(marks + 8 * task, load_int(marks + 8 * task) + 100 + part)
        fetch_add(turn + 8, 1)
        task = fetch_add(turn, 1)
    if part == 0:
        call_five(wait, (turn + 8, 64, 0, 0, 0))


def marked(threads: int, effort: int = 2000) -> np.ndarray:
    turn, marks = np.zeros(2, np.int64), np.zeros(TASKS, np.int64)
    job = np.array([address_of(turn), address_of(marks), wait_address(), effort], np.int64)
    run_team(mark.address, address_of(job), threads)
    assert turn[1] == TASKS
    return marks - 100


@pytest.fixture(autouse=True)
def unlimited(monkeypatch):
    """No limit that another test has left in this thread."""
    monkeypatch.setattr(limits, "_mine", threading.local())


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_every_task_is_done_once(threads):
    for _ in range(200):
        marks = marked(threads, 10)
        assert ((marks >= 0) & (marks < threads)).all()


def test_others_take_part():
    seen = set()
    for _ in range(50):
        seen |= set(marked(2, 20000).tolist())
    assert seen == {0, 1} or len(os.sched_getaffinity(0)) == 1


def test_callers_in_several_threads_do_not_meet():
    done = []

    def caller():
        for _ in range(100):
            done.append(int(marked(2, 100).min()))

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(60)
    assert len(done) == 400 and min(done) >= 0


def test_a_worker_that_never_comes_is_not_waited_for(monkeypatch):
    asleep = pool._Pool()
    monkeypatch.setattr(pool, "_pool", asleep)
    marked(2)
    end = os.dup(asleep.workers[0].pipe[1])
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, asleep.workers[0].pipe[1])  # what should wake it goes nowhere
    for _ in range(20):
        assert (marked(2) == 0).all()
    os.dup2(end, asleep.workers[0].pipe[1])
    before = time.monotonic()
    while (marked(2, 20000) == 0).all():
        assert time.monotonic() - before < 20 or len(os.sched_getaffinity(0)) == 1
        if len(os.sched_getaffinity(0)) == 1:
            break
    os.close(end)
    os.close(null)


@pytest.fixture
def two(monkeypatch):
    """Two threads a call, and workers of the test's own."""
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "2")
    monkeypatch.setattr(pool, "_pool", pool._Pool())


def test_callers_and_workers_are_no_more_than_the_threads_of_a_call(two):
    assert pool.with_team(2, lambda boxes, workers: workers) == 1
    inside = pool.with_team(1, lambda *_: pool.with_team(2, lambda boxes, workers: (boxes, workers)))
    assert inside == (0, 0)  # two callers are two threads at work
    assert pool.with_team(2, lambda boxes, workers: workers) == 1


def test_one_call_at_a_time_has_the_workers(two, monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "8")
    inside = pool.with_team(3, lambda boxes, workers: (workers, pool.with_team(3, lambda *given: given)))
    assert inside == (2, (0, 0))


def test_a_failure_is_counted_out(two):
    def fails(boxes, workers):
        raise KeyError

    for threads in (1, 2):
        with pytest.raises(KeyError):
            pool.with_team(threads, fails)
    assert pool.with_team(2, lambda boxes, workers: workers) == 1


def within(seconds, work):
    """Whether something ends in time."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def test_callers_are_counted_one_after_another(two, monkeypatch):
    """One that asks whether anybody has the workers is answered before the next one asks."""
    monkeypatch.setattr(pool, "threads_allowed", lambda: time.sleep(0.05) or 8)
    both, found = threading.Barrier(2, timeout=20), []

    def inside(boxes, workers):
        both.wait()
        found.append(workers)

    callers = [threading.Thread(target=pool.with_team, args=(3, inside)) for _ in range(2)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert sorted(found) == [0, 2]


def test_a_call_from_a_signals_handler_while_the_pool_is_looked_at(two):
    def work():
        with pool._pool.lock:
            marked(2)

    assert within(20, work)


class Never:
    """A thread that does not start, or not yet; `fails`: not at all."""

    native_id = 0
    fails = False

    def __init__(self, **_):
        pass

    def start(self):
        if self.fails:
            raise RuntimeError("can't start new thread")


def never(monkeypatch, fails=False):
    monkeypatch.setattr(Never, "fails", fails)
    monkeypatch.setattr(pool, "threading", SimpleNamespace(Thread=Never))
    monkeypatch.setattr(pool, "processor", lambda: None)


def test_a_worker_that_does_not_read_its_pipe_stops_nobody(two, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("pipes are large here")
    never(monkeypatch)
    marked(2, 0)
    most = fcntl.fcntl(pool._pool.workers[0].pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    assert within(30, lambda: [marked(2, 0) for _ in range(most + 2)])


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="files are not listed here")
@pytest.mark.parametrize("lacking", ["threads", "files"])
def test_where_no_worker_is_to_be_had_the_caller_does_all(lacking, two, monkeypatch):
    before = sorted(os.listdir("/proc/self/fd"))
    if lacking == "threads":
        never(monkeypatch, fails=True)
    else:
        monkeypatch.setattr(os, "pipe", lambda: os.open("/proc/no such file", os.O_RDONLY))
    assert (marked(2) == 0).all() and not pool._pool.workers
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_there_are_no_more_workers_than_places(two, monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "9")
    pool._pool.boxes = pool._pool.boxes[:3]
    marked(9)
    assert len(pool._pool.workers) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_workers_stay_off_the_callers_processor(two, monkeypatch):
    allowed = os.sched_getaffinity(0)

    def kept():
        """Where the worker of a call may run."""
        marked(2)
        return os.sched_getaffinity(pool._pool.workers[0].thread.native_id)

    for mine in allowed:
        monkeypatch.setattr(pool, "processor", lambda mine=mine: mine)
        assert kept() == (allowed - {mine} or allowed)
    monkeypatch.setattr(pool, "processors_allowed", lambda: frozenset({mine}))
    assert kept() == {mine}
    monkeypatch.setattr(pool, "processors_allowed", lambda: frozenset({1000}))  # taken away since
    assert kept() == {mine} or 1000 in allowed


@pytest.mark.parametrize("way", ["infer", "train"])
@pytest.mark.parametrize("room", [0, 1])
def test_a_worker_leaves_after_its_task_when_another_call_needs_its_place(way, room, two, monkeypatch):
    done = []

    def go(call):
        """A worker goes through first, then the caller."""
        p, s = call.tables()
        job = np.array([address_of(p), address_of(s), address_of(call.constants)], np.int64)
        kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(call.code.run)
        turns = (ctypes.c_int64 * (call.sizes["chunks"] * TURN // 8)).from_address(call.addresses["tasks"])
        pool._room[0] = room
        kernel(address_of(job), 1)
        done.append((sum(turns[1 :: TURN // 8]), call.sizes["slices"]))
        kernel(address_of(job), 0)

    net = rn.Network(rn.cells.gru(64), inputs=64)
    params, x = net.init(seed=0), np.random.default_rng(0).standard_normal((16, 40, 64)).astype("float32")

    def results():
        if way == "infer":
            return [net(params, x)[0]]
        own = copy.copy(net)  # with no program of a shape that comes again
        y, _, tape = own.forward(params, x, lengths=[40] * 16)
        dx, _, grads = own.backward(params, tape, y)
        return [y, dx, grads.flat]

    want = results()
    monkeypatch.setattr(Call, "go", go)
    assert all(np.array_equal(a, b) for a, b in zip(results(), want))
    assert done and all(slices > 1 and (tasks == 1 if room == 0 else tasks >= slices) for tasks, slices in done)


FORKED = """
import os
import numpy as np, rnncore as rn

net = rn.Network(rn.cells.gru(64), inputs=64)
p, x = net.init(seed=0), np.ones((16, 60, 64), "float32")
before = net(p, x)[0]
child = os.fork()
if child == 0:
    same = np.array_equal(net(p, x)[0], before) and np.array_equal(net(p, x)[0], before)
    os._exit(0 if same else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert np.array_equal(net(p, x)[0], before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own():
    environment = {**os.environ, "RNNCORE_NUM_THREADS": "3", "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", FORKED], check=True, env=environment, timeout=300)
