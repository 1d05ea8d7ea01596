"""Products over all steps: of views where they lie, rounded for those who ask, on the library's strict stand-in."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore as rn
from rnncore.cuda import dense, target
from rnncore.cuda.space import put, xp

UNITS = {"": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8}  # the most that rounding changes a number, relative to it
SIZES = st.sampled_from([0, 1, 2, 3, 5, 8, 13, 37])


def viewed(draw, rows, columns, dtype):
    """A matrix on the host and the same on the device, as some view of an array there."""
    numbers = np.random.default_rng(draw(st.integers(0, 99))).standard_normal((rows, columns)).astype(dtype)
    kind = draw(st.sampled_from(["rows", "columns", "part", "part of columns", "every other", "one row again"]))
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    wide = np.full((rows + before, columns + before + after), np.nan, dtype)
    wide[before:, before : before + columns] = numbers
    if kind == "one row again" and rows:
        numbers = np.broadcast_to(numbers[0], numbers.shape)
        return numbers, xp.broadcast_to(put(numbers[0].copy()), numbers.shape)
    if kind == "every other":
        spread = put(np.repeat(numbers, 2, 1))
        return numbers, spread[:, ::2]
    if kind in ("part", "part of columns"):
        whole = put(wide if kind == "part" else np.ascontiguousarray(wide.T))
        return numbers, (whole if kind == "part" else whole.T)[before:, before : before + columns]
    return numbers, put(numbers) if kind == "rows" else put(np.ascontiguousarray(numbers.T)).T


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_products_of_views_are_those_of_their_numbers(data):
    m, n, k = (data.draw(SIZES) for _ in range(3))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    products, add = data.draw(st.sampled_from(list(UNITS))), data.draw(st.booleans())
    a, on_a = viewed(data.draw, m, k, dtype)
    b, on_b = viewed(data.draw, k, n, dtype)
    around = np.random.default_rng(7).standard_normal((m + 2, n + 5)).astype(dtype)
    whole = put(around)
    out = whole[1 : m + 1, 2 : n + 2]
    if not add:
        out[...] = np.nan  # is not read
    dense.multiply(on_a, on_b, out, products, add)
    want = a.astype(float) @ b.astype(float) + add * around[1 : m + 1, 2 : n + 2]
    bound = (UNITS[products] if dtype == "float32" else 2.0**-53) * 2 + (k + 2) * np.finfo(dtype).eps
    scale = np.abs(a) @ np.abs(b) + np.abs(want)
    got = xp.asnumpy(whole)
    assert (np.abs(got[1 : m + 1, 2 : n + 2] - want) <= bound * scale).all()
    got[1 : m + 1, 2 : n + 2] = around[1 : m + 1, 2 : n + 2]
    np.testing.assert_array_equal(got, around)  # nothing besides is written


@pytest.mark.parametrize("inputs, units, batch", [(1, 13, 1), (3, 7, 1), (5, 3, 3), (8, 4, 5)])
def test_a_layers_products_of_all_steps_round_as_its_parameters_say(inputs, units, batch):
    """With h0 = 0 one step multiplies x alone: what is off is off by rounding x and W_x, forward and back."""
    net = rn.Network(rn.cells.vanilla(units), inputs=inputs)
    params = net.init(seed=0)
    draw = np.random.default_rng(1)
    x, dy = (draw.standard_normal((batch, 1, n)).astype("float32") for n in (inputs, units))

    def passed(params):
        y, _, tape = net.forward(params, x)
        dx, _, grads = net.backward(params, tape, dy)
        return y, dx, grads.to("cpu")

    (y, dx, grads), rounded = passed(params), {kind: passed(params.to("cuda", products=kind)) for kind in UNITS if kind}
    exact = passed(params.to("cuda"))
    for kind, bound in {"exact": 1e-6, "tf32": 4 * UNITS["tf32"], "bf16": 4 * UNITS["bf16"]}.items():
        got = exact if kind == "exact" else rounded[kind]
        for a, b in ((got[0], y), (got[1], dx), (got[2]["W_xh"], grads["W_xh"])):
            error = np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max())
            assert error < bound and (kind == "exact" or error > UNITS[kind] / 1000)


@pytest.mark.parametrize("kind", ["tf32", "bf16"])
def test_readouts_round_too_and_float64_never(kind):
    net = rn.Network(rn.cells.vanilla(3), inputs=2, outputs=5)
    x = np.random.default_rng(0).standard_normal((2, 3, 2))
    for dtype in ("float32", "float64"):
        params = net.init(dtype=dtype).to("cuda")
        params.flat[:] *= np.ones(1, dtype).item()
        rows, v = xp.asarray(np.ones((1, 3), dtype) / 3), params["readout.V"]
        backend = rn.backends.backend_of("cuda", params.to("cuda", products=kind).rounding)
        off = xp.asnumpy(backend.affine(rows, v, params["readout.c"]) - dense.affine(rows, v, params["readout.c"]))
        assert np.abs(off).max() > UNITS[kind] / 100 if dtype == "float32" else not off.any()
        rounding = params.to("cuda", products=kind)
        assert np.array_equal(net(rounding, x)[0], net(params, x)[0]) is (dtype == "float64")
        np.testing.assert_array_equal(net(rounding, x)[0], net(rounding, x)[0])


def test_every_thread_has_a_handle_of_its_own():
    found = []

    def look():
        found.append((dense._handle(), dense._handle()))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(a == b for a, b in found) and dense._handle() == dense._handle()
    assert dense._handle() not in [a for a, _ in found]


@pytest.fixture
def handles(monkeypatch):
    """What this thread has of the library's handles, none at first."""
    monkeypatch.setattr(dense, "_handles", dense._Handles())
    return dense._handles.of


def test_a_thread_keeps_the_handles_that_it_used_last(handles):
    """Each has memory of the device, and a program may make a stream for every call."""
    for _ in range(2 * dense._KEPT):
        with xp.cuda.Stream(non_blocking=True):
            dense._handle()
        last = dense._handle()  # of the stream that is always there
    assert len(handles) <= dense._KEPT and last in [one.number for one in handles.values()]


@pytest.mark.skipif(not target.simulated, reason="the library itself is there")
def test_handles_are_given_back_by_the_process_that_made_them(handles, monkeypatch):
    from rnncore.cuda import standin_blas

    first = dense._handle()
    handles.clear()
    assert first not in standin_blas._handles
    second = dense._handle()
    with monkeypatch.context() as patch:
        patch.setattr(dense.os, "getpid", lambda: -1)  # a forked child, whose threads are gone
        handles.clear()
    assert standin_blas._handles.pop(second, "given back") is None


@pytest.mark.skipif(not target.simulated, reason="the library itself is there")
@pytest.mark.parametrize("place, value", [
    (0, 0), (1, 2), (2, 2), (3, 4), (4, 5), (5, 4), (7, 8), (8, 1), (9, 2), (11, 1), (12, 1), (15, 1), (16, 2),
    (17, 70), (17, 0), (18, 0),
])  # fmt: skip
def test_the_stand_in_refuses_what_the_library_refuses(place, value):
    import ctypes

    from rnncore.cuda import standin_blas as blas

    one, handle = ctypes.c_float(1), blas.create()
    a, b, c = (put(np.ones(shape, "float32")) for shape in ((2, 3), (4, 2), (4, 3)))
    alpha = ctypes.addressof(one)
    given = [handle, 0, 0, 3, 4, 2, alpha, a.data.ptr, 0, 3, b.data.ptr, 0, 2, alpha, c.data.ptr, 0, 3, 68, -1]
    blas.gemmEx(*given)
    np.testing.assert_array_equal(xp.asnumpy(c), np.full((4, 3), 3.0))
    given[place] = value
    with pytest.raises(ValueError):
        blas.gemmEx(*given)
    blas.destroy(handle)
    with pytest.raises(ValueError, match="handle"):
        blas.gemmEx(handle, *given[1:])
