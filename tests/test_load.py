"""Many callers at once: right results, the same bits whoever computes them, and no more threads than are allowed."""

import copy
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

import rnncore as rn
from rnncore import objective, registry
from rnncore.combine import wired
from rnncore.combine.wired import _traced as wiring_of
from rnncore.cpu import back, loop, pool, run, store
from rnncore.cpu.chunks import Chunk
from rnncore.lang import cell, loss, mean, tanh
from rnncore.lang.cell import _traced as step_of
from rnncore.testing import example, same_bits
from rnncore.whole_training import Trainings

net = rn.Network(rn.cells.gru(64), inputs=64)
params = net.init(seed=0)
BATCHES = [np.random.default_rng(k).standard_normal((16, 40, 64)).astype("float32") for k in range(4)]


def answer(x):
    """Inference and the gradient of half the sum of squares, as one array; of the parent's network where forked."""
    y, _, tape = net.forward(params, x)
    dx, _, grads = net.backward(params, tape, y)
    return np.concatenate([a.ravel() for a in (net(params, x)[0], dx, grads.flat)])


@pytest.fixture(scope="module")
def answers():
    return [answer(x) for x in BATCHES]


gru, lstm = rn.cells.gru, rn.cells.lstm
LAYERS = {
    "a cell": gru(9),
    "deep": rn.topologies.deep(lstm(9), lstm(9)),
    "bidirectional": rn.topologies.bidirectional(gru(9)),
    "translation": rn.topologies.encoder_decoder(gru(9), lstm(9), outputs=3, scorer=rn.scorers.bahdanau()),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_same_bits_for_any_number_of_threads_and_run_after_run(name, monkeypatch):
    monkeypatch.setattr(run, "_PARALLEL_FLOPS", 0)  # small work is shared out as well
    monkeypatch.setattr(back, "backward_chunk", lambda *_: Chunk(1, 64, 64))  # several chunks
    translates = name == "translation"
    it = rn.Network(LAYERS[name], inputs=5, outputs=None if translates else 3)
    e = example(it, batch=37, time=23, dtype="float32")
    given = {"lengths": e.lengths}
    if translates:
        given |= {"target": e.lengths[:, None] * np.arange(23) % 3, "target_lengths": e.lengths[::-1].copy()}
    else:
        given["state"] = e.state
    want = None
    for threads in ("1", "2", "3", "16", "2", "2"):
        monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
        y, final, tape = it.forward(e.params, e.x, **given)
        got = it(e.params, e.x, **given), y, final, it.backward(e.params, tape, e.dy, dstate=e.dstate)
        want = want or got
        same_bits(f"{threads} threads", got, want)


def test_sixteen_threads_call_one_network(answers, monkeypatch):
    """Inference, training and a bound network in turns, and one stream that all of them drive."""
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "24")  # so many that one of them has workers, too
    bound, stream = net.bind(params), net.stream(params, batch=16)
    step = BATCHES[0][:, 0]
    single, wrong, steps, start = net.stream(params, batch=16), [], [], threading.Barrier(16)
    want = {single.step(step).tobytes() for _ in range(16 * 5)}

    def caller(k):
        start.wait()
        for turn in range(5):
            i = (k + turn) % len(BATCHES)
            if not np.array_equal(answer(BATCHES[i]), answers[i]):
                wrong.append(("call", k, turn))
            y = bound(BATCHES[i])[0].ravel()
            if not np.array_equal(y, answers[i][: y.size]):
                wrong.append(("bound", k, turn))
            steps.append(stream.step(step).tobytes())

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(caller, range(16)))
    assert not wrong
    assert set(steps) == want and len(want) > 60  # each state is reached once


def test_a_signals_handler_may_want_a_kernel_while_one_is_compiled(monkeypatch):
    """The thread that compiles has the locks then."""
    own = cell(lambda w, x, h, *, k=1.0: tanh(w.h(x, h)) + k)
    one, other = (own(3, k=k).step for k in (1.5, 2.5))
    emit, found, came = loop.emit, [], []

    def interrupted(*given):
        came.append(given)
        if len(came) == 1:
            loop.compiled(other, "infer", "float32")
        return emit(*given)

    def compiling(key, text):
        if text == "outer":
            found.append(store.load_module("inner"))
        return text

    def work():
        loop.compiled(one, "infer", "float32")
        monkeypatch.setattr(store, "_from_disk", lambda key: None)
        monkeypatch.setattr(store, "_compile", compiling)
        found.append(store.load_module("outer"))

    monkeypatch.setattr(loop, "emit", interrupted)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert found == ["inner", "outer"] and len(came) == 2


@pytest.fixture
def once():
    """Called by what is to be made once, slowly; `wanted`: sixteen threads want it at one time, and get the same."""
    made, start = [], threading.Barrier(16, timeout=20)

    def slow(given):
        made.append(given)
        time.sleep(0.05)
        return given

    def wanted(work):
        def caller(_):
            start.wait()
            return work()

        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(caller, range(16)))
        assert len(made) == 1 and all(one is found[0] for one in found)

    slow.wanted, slow.made = wanted, made
    return slow


def test_sixteen_threads_want_one_kernel(once, monkeypatch):
    """It is compiled once, and nobody sees half of it."""
    monkeypatch.setattr(store, "_from_disk", lambda key: None)
    monkeypatch.setattr(store, "_compile", lambda key, text: [once(text)])
    monkeypatch.setattr(store, "_loaded", {})
    once.wanted(lambda: store.load_module("text"))


def test_sixteen_threads_want_one_loop(once, monkeypatch):
    """As numba compiles it, after it was planned and written."""
    emit, step = loop.emit, cell(lambda w, x, h: tanh(w.h(x, h)) + 0.5 * x)(3).step
    monkeypatch.setattr(loop, "emit", lambda *given: once(emit(*given)))
    once.wanted(lambda: loop.compiled(step, "infer", "float32"))


def test_sixteen_threads_want_one_step(once):
    slow = cell(lambda w, x, h, *, k=1.0: once(k * tanh(w.h(x, h))))
    once.made.clear()
    once.wanted(lambda: step_of(slow, (("k", 2.0),)))


def test_sixteen_threads_want_one_wiring(once, monkeypatch):
    def same(net, layer):
        return once(net.layer(layer))

    layer = wired(same, gru(4)).layer
    once.made.clear()
    monkeypatch.setattr(sys.modules[wiring_of.__module__], "_found", {})
    once.wanted(lambda: wiring_of(layer))


def test_sixteen_threads_want_one_loss(once):
    slow = objective.as_loss(loss(lambda o, target: once(mean((o - target) ** 2))))
    o = np.ones((2, 3))
    once.wanted(lambda: objective.value_and_gradient(slow, o, o) and objective._traced[slow])


def test_sixteen_threads_want_one_registry(once, monkeypatch):
    build = registry.build
    monkeypatch.setattr(registry, "_current", None)
    monkeypatch.setattr(registry, "build", lambda: once(build()))
    once.wanted(registry.current)


def test_sixteen_threads_want_one_table_of_programs(once, monkeypatch):
    """Here each may make one, but all keep the same."""
    own, start = copy.copy(net), threading.Barrier(16, timeout=20)

    def waits(table, net, dtype):
        start.wait()
        init(table, net, dtype)

    init = Trainings.__init__
    monkeypatch.setattr(Trainings, "__init__", waits)
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: own.trainings(params.dtype), range(16)))
    assert len({id(table) for table in found}) == 1


def joblib_threads(function, items, n):
    return joblib.Parallel(n, backend="threading")(joblib.delayed(function)(item) for item in items)


def dask_threads(function, items, n):
    return dask.compute(*[dask.delayed(function)(item) for item in items], scheduler="threads", num_workers=n)


@pytest.mark.parametrize("by", [joblib_threads, dask_threads])
def test_pools_of_threads(by, answers):
    found = by(answer, BATCHES * 4, 4)
    assert all(np.array_equal(a, b) for a, b in zip(found, answers * 4))


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="no clock of another thread here")
@pytest.mark.parametrize("by", [joblib_threads, dask_threads])
def test_as_many_callers_as_threads_leave_nothing_to_workers(by, monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "2")
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    x = np.zeros((16, 2000, 64), "float32")

    def share(n):
        """Part of the computing that workers do, where `n` threads call."""
        begun, before = time.process_time(), at_work()
        by(lambda _: net(params, x)[0].shape, range(8), n)
        return (at_work() - before) / (time.process_time() - begun)

    def at_work():
        clocks = [time.pthread_getcpuclockid(worker.thread.ident) for worker in pool._pool.workers]
        return sum(time.clock_gettime(clock) for clock in clocks)

    share(1)
    assert any(share(1) > 0.2 for _ in range(20)) or len(os.sched_getaffinity(0)) == 1
    assert any(share(2) < 0.15 for _ in range(5))


@pytest.fixture(scope="module")
def loky():
    """joblib's processes, which it would keep for minutes."""
    yield "loky"
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.parametrize("inner", [None, 1, 2])
def test_processes_of_joblib_share_the_processors_out(inner, loky, answers, monkeypatch):
    monkeypatch.delenv("RNNCORE_NUM_THREADS", raising=False)
    given = joblib.cpu_count()

    def work(net, params, x):
        """The answer, the threads that a call may use, and the workers that there are then."""
        from rnncore.cpu import pool

        return net(params, x)[0], pool.available_threads(), len(pool._pool.workers)

    with joblib.parallel_config(loky, n_jobs=2, inner_max_num_threads=inner):
        found = joblib.Parallel()(joblib.delayed(work)(net, params, x) for x in BATCHES)
    for (y, threads, workers), want in zip(found, answers):
        assert np.array_equal(y.ravel(), want[: y.size])
        assert threads == min(given, inner or max(given // 2, 1)) and workers <= threads - 1


def test_threadpoolctl_keeps_a_call_on_one_thread(answers, monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "2")
    had = []
    monkeypatch.setattr(pool._Pool, "ready", lambda self, n: had.append(n) or 0)
    with threadpool_limits(1):
        assert np.array_equal(answer(BATCHES[0]), answers[0])
        assert not had
    answer(BATCHES[0])
    assert had
