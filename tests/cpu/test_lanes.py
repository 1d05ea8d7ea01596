"""Every pointwise row of the op table: what its compiled form gives is what NumPy gives."""

import numpy as np
import pytest
from numba import njit

from rnncore.cpu.laneops import OPS as COMPILED
from rnncore.cpu.lanes import lanes
from rnncore.cpu.machine import host
from rnncore.lang.ops import OPS

ROWS = {name: row for name, row in OPS.items() if row.pointwise and name not in ("spread", "stop", "eye")}
N = 37  # no multiple of any vector


def test_every_pointwise_row_has_a_compiled_form():
    assert set(ROWS) == set(COMPILED)


def operands(dtype):
    """Three rows: numbers of both signs, some equal, zeros, infinities and NaN in every combination."""
    rng = np.random.default_rng(3)
    a, b, c = rng.uniform(-3, 3, (3, N)).round(2)
    special = np.array([0.0, 1.0, -2.0, np.inf, -np.inf, np.nan])
    a[:36], b[:36] = np.repeat(special, 6), np.tile(special, 6)
    return np.stack([a, b, c]).astype(dtype), rng.uniform(-3, 3, (3, N)).astype(dtype)


def text_of(row, scalar):
    """The body of a loop that applies a row; comparisons are written as 1 and 0, conditions read as `> 0`."""
    names = [f"gt({v}, zero)" if k < row.conditions else v for k, v in enumerate(("a", "b", "c")[: row.arity])]
    call = f"op({', '.join(names)})"
    call = f"where({call}, one, zero)" if row.boolean else call
    if scalar:
        return f"""
def run(p, out, n, one, zero):
    for j in range(n):
        a, b, c = load_one(p + j * item), load_one(p + (n + j) * item), load_one(p + (2 * n + j) * item)
        store_one(out + j * item, {call})
"""
    return f"""
def run(p, out, n, one, zero):
    for j in range(0, n, count):
        a, b = load_n(p + j * item, n - j), load_n(p + (n + j) * item, n - j)
        c = load_n(p + (2 * n + j) * item, n - j)
        store_n(out + j * item, {call}, n - j)
"""


def compiled(name, dtype, scalar=False):
    f = lanes(dtype, host().lanes(dtype))
    scope = dict(vars(f), op=COMPILED[name], gt=COMPILED["gt"], where=COMPILED["where"])
    exec(text_of(ROWS[name], scalar), scope)
    run = njit(error_model="numpy", fastmath={"contract", "nsz"})(scope["run"])

    def call(values):
        out = np.empty(values.shape[1], dtype)
        run(values.ctypes.data, out.ctypes.data, values.shape[1], out.dtype.type(1), out.dtype.type(0))
        return out

    return call


def numpy_of(name, values):
    row = ROWS[name]
    args = [v > 0 if k < row.conditions else v.astype(float) for k, v in enumerate(values[: row.arity])]
    with np.errstate(all="ignore"):
        return np.asarray(row.numpy(*args), dtype=float)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_vectors_mean_what_numpy_means(name, dtype):
    call = compiled(name, dtype)
    bound = 8 * np.finfo(dtype).eps
    for values in operands(dtype):
        np.testing.assert_allclose(call(values), numpy_of(name, values), rtol=bound, atol=0)


@pytest.mark.parametrize("name", ROWS)
def test_scalars_mean_what_numpy_means(name):
    call = compiled(name, "float64", scalar=True)
    for values in operands("float64"):
        np.testing.assert_allclose(call(values), numpy_of(name, values), rtol=2e-15, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reductions_read_as_many_lanes_as_asked(dtype):
    count = host().lanes(dtype)
    f = lanes(dtype, count)
    load, keep, total, largest, store_one, store = f.load, f.keep, f.total, f.largest, f.store_one, f.store

    @njit(error_model="numpy")
    def run(p, out, kept, n):
        v = load(p)
        store_one(out, total(v, n))
        store_one(out + f_item, largest(v, n))
        store(kept, keep(v, n))

    f_item = f.item
    values = -np.arange(1.0, count + 1).astype(dtype)
    for n in range(1, count + 1):
        out, kept = np.empty(2, dtype), np.empty(count, dtype)
        run(values.ctypes.data, out.ctypes.data, kept.ctypes.data, n)
        assert out[0] == values[:n].sum() and out[1] == -1
        np.testing.assert_array_equal(kept, np.where(np.arange(count) < n, values, 0))


def test_a_masked_access_touches_nothing_outside():
    f = lanes("float32", host().lanes("float32"))
    load_n, store_n = f.load_n, f.store_n

    @njit
    def copy(a, b, n):
        store_n(b, load_n(a, n), n)

    source, target = np.ones(2, "float32"), np.zeros(40, "float32")
    copy(source.ctypes.data, target.ctypes.data, 2)
    assert target[:2].sum() == 2 and not target[2:].any()


def test_the_largest_of_a_row_with_nan_is_nan():
    count = host().lanes("float64")
    f = lanes("float64", count)
    load, largest, store_one = f.load, f.largest, f.store_one

    @njit(error_model="numpy")
    def run(p, out, n):
        store_one(out, largest(load(p), n))

    for place in range(count):
        values, out = np.arange(count, dtype=float), np.empty(1)
        values[place] = np.nan
        run(values.ctypes.data, out.ctypes.data, count)
        assert np.isnan(out[0])
