"""Products shared out column by column: the same bits, whoever comes."""

import ctypes
import threading

import numpy as np
import pytest

import rnncore as rn
from rnncore.cpu.board import BOARD, SHARED
from rnncore.cpu.loop import functions, native
from rnncore.cpu.memory import address_of
from rnncore.cpu.pool import room_address, wait_address
from rnncore.cpu.run import threads_for
from rnncore.layout import layout_of

rng = np.random.default_rng(0)


def product(dtype, rows, k, n, board):
    """A product with a matrix of panels, put on a board (0: not)."""
    a, packed = rng.standard_normal((rows, k)).astype(dtype), rng.standard_normal(k * (n + 64)).astype(dtype)
    index, start, out = np.arange(rows), np.zeros(n + 64, dtype), []
    for where in (0, board):
        c = np.zeros((rows, n), dtype)
        i, own = address_of(index), functions(dtype)["block"]
        native(dtype, "gemm")(
            address_of(a), a.strides[0], i, 0, address_of(packed), address_of(c), c.strides[0], i, 0, rows, n, k, 0,
            address_of(start), where, own,
        )  # fmt: skip
        out.append(c)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows, k, n", [(1, 512, 2048), (1, 257, 1031), (3, 128, 384), (7, 1100, 67), (1, 9, 5)])
def test_alone_the_owner_does_all(dtype, rows, k, n):
    board = np.zeros(BOARD // 8, np.int64)
    whole, shared = product(dtype, rows, k, n, address_of(board))
    np.testing.assert_array_equal(whole, shared)
    assert board[0] <= 0 and (board[8] > 0) == (rows * k * n >= SHARED)


def test_who_waits_helps():
    board, count = np.zeros(BOARD // 8, np.int64), np.zeros(1, np.int64)
    wait = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)(wait_address())
    where = (address_of(count), 1, address_of(board), room_address(), 0)
    helpers = [threading.Thread(target=wait, args=where, daemon=True) for _ in range(3)]
    for helper in helpers:
        helper.start()
    for _ in range(50):
        for rows, k, n in ((1, 512, 2048), (2, 300, 1000)):
            np.testing.assert_array_equal(*product("float32", rows, k, n, address_of(board)))
    count[0] = 1
    for helper in helpers:
        helper.join(60)
    assert not any(helper.is_alive() for helper in helpers)


def test_who_waits_leaves_when_its_place_is_needed():
    count, room = np.zeros(1, np.int64), np.full(1, 2)
    wait = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)(wait_address())
    waiting = [
        threading.Thread(target=wait, args=(address_of(count), 1, 0, address_of(room), part), daemon=True)
        for part in (1, 2)
    ]
    for thread in waiting:
        thread.start()
    for left in (2, 1, 0):
        room[0] = left
        for thread in waiting[left:]:
            thread.join(20)
        assert [thread.is_alive() for thread in waiting] == [part <= left for part in (1, 2)]


@pytest.mark.parametrize("cell", [rn.cells.gru, rn.cells.lstm])
@pytest.mark.parametrize("weights", ["", "bfloat16"])
def test_one_sequence_has_the_same_bits_with_any_number_of_threads(cell, weights, monkeypatch):
    net = rn.Network(cell(300), inputs=130)
    params, x = net.init(seed=0), rng.standard_normal((1, 40, 130)).astype("float32")
    seen = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
        if weights:
            y, state = net.bind(params, weights=weights)(x)
            seen.append([y, *state.values()])
        else:
            y, state, tape = net.forward(params, x)
            dx, dstate, grads = net.backward(params, tape, y)
            seen.append([y, *state.values(), dx, *dstate.values(), grads.flat])
    for other in seen[1:]:
        for a, b in zip(seen[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell, threads", [(rn.cells.gru(128, reset="before"), 1), (rn.cells.lstm(128), 2)])
def test_one_sequence_has_helpers_where_a_step_has_work_for_them(cell, threads, monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "2")
    net = rn.Network(cell, inputs=128)
    layer, sizes = net.loops[""]
    prepared = net.bind(net.init(seed=0)).loops[""]
    assert threads_for(layer, sizes, layout_of(np.array([100]), True), prepared.packing) == threads
