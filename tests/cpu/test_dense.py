"""Products of every shape: register tiles, panels and what is left over at their edges."""

import copy
import ctypes
import threading

import numpy as np
import pytest
import stress
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore as rn
from rnncore.cpu import dense, limits, loop, pool
from rnncore.cpu.dense import affine, affine_backward
from rnncore.cpu.loop import functions
from rnncore.testing import same_bits

BOUND = {"float32": 3e-6, "float64": 3e-15}
rng = np.random.default_rng(0)
sizes = st.one_of(st.integers(1, 20), st.integers(1, 200))


def arrays(m, n, k, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(dtype) for s in ((m, k), (n, k), (n,), (m, n))]


def check(m, n, k, dtype):
    rows, v, c, dy = arrays(m, n, k, dtype, m + n + k)
    exact = [a.astype("float64") for a in (rows, v, c, dy)]
    size = np.sqrt(k) * 4
    np.testing.assert_allclose(affine(rows, v, c), exact[0] @ exact[1].T + exact[2], atol=BOUND[dtype] * size)
    dv, dc = np.full_like(v, 0.5), np.full_like(c, -0.5)
    drows = affine_backward(dy, rows, v, dv, dc)
    np.testing.assert_allclose(drows, exact[3] @ exact[1], atol=BOUND[dtype] * np.sqrt(n) * 4)
    np.testing.assert_allclose(dv, exact[3].T @ exact[0] + 0.5, atol=BOUND[dtype] * np.sqrt(m) * 8)
    np.testing.assert_allclose(dc, exact[3].sum(0) - 0.5, atol=BOUND[dtype] * np.sqrt(m) * 8)


@pytest.mark.parametrize("dtype", BOUND)
def test_every_small_number_of_rows_and_columns(dtype):
    for m in (*range(1, 30), 100):
        check(m, 5, 3, dtype)
    for n in range(1, 150):
        check(7, n, 4, dtype)
    for k in (1, 2, 3, 8, 31, 64, 500):
        check(13, 17, k, dtype)


@pytest.mark.parametrize("dtype", BOUND)
@settings(max_examples=40)
@given(m=sizes, n=sizes, k=sizes)
def test_any_shape(m, n, k, dtype):
    check(m, n, k, dtype)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("n", [64, 130, 256, 389, 512])
def test_a_row_alone_has_the_bits_that_it_has_among_others(dtype, n):
    for k in (16, 100, 200):  # a matrix that two panels are read of at once, and one too large for that
        rows, v, c, _ = arrays(7, n, k, dtype)
        among = affine(rows, v, c)
        for m in range(7):
            np.testing.assert_array_equal(affine(rows[m : m + 1], v, c), among[m : m + 1])


def test_no_rows():
    rows, v, c, dy = arrays(0, 3, 2, "float64")
    assert affine(rows, v, c).shape == (0, 3)
    assert affine_backward(dy, rows, v, np.zeros((3, 2)), np.zeros(3)).shape == (0, 2)


def test_the_bits_do_not_depend_on_the_threads(monkeypatch):
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
        rows, v, c, dy = arrays(999, 130, 70, "float32")
        dv, dc = np.zeros_like(v), np.zeros_like(c)
        results.append((affine(rows, v, c), affine_backward(dy, rows, v, dv, dc), dv, dc))
    same_bits("2 threads", results[1], results[0])
    same_bits("3 threads", results[2], results[0])


@pytest.mark.parametrize("room", [0, 1])
def test_a_worker_leaves_a_product_after_its_task_when_another_call_needs_its_place(room, monkeypatch):
    net, names = rn.Network(stress.gated(20), inputs=3, outputs=5), {at: n for n, at in functions("float32").items()}
    params, x, done = net.init(seed=0), rng.standard_normal((4, 9, 3)), {}

    def step():
        y, _, tape = (own := copy.copy(net)).forward(params, x)
        return y, own.backward(params, tape, y)[2].flat

    def worker_first(work, job, threads):
        turn, many = (load(job, k) for k in {"team": (10, 11), "team_sums": (13, 14), "team_pack": (3, 1)}[names[work]])
        pool._room[0] = room
        function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(work)
        function(job, 1)
        done[names[work]] = load(turn, 0) == (many + 1 if room else 1)
        function(job, 0)

    want = step()
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "2")
    monkeypatch.setattr(limits, "_mine", threading.local())  # of no limit that another test has left
    for module, name in ((dense, "_PARALLEL_FLOPS"), (loop, "PARALLEL_BYTES")):
        monkeypatch.setattr(module, name, 0)
        monkeypatch.setattr(module, "run_team", worker_first)
    same_bits("a worker first", step(), want)
    assert done == {"team": True, "team_sums": True, "team_pack": True}


def load(address, k):
    return ctypes.c_int64.from_address(address + 8 * k).value


def test_rows_of_any_strides():
    rows, v, c, _ = arrays(9, 5, 6, "float64")
    np.testing.assert_array_equal(affine(np.asfortranarray(rows), v, c), affine(rows, v, c))
