"""Accuracy of exp, log, tanh, sigmoid and softplus in compiled code, over every magnitude that a number can have."""

import numpy as np
import pytest
from numba import njit

from rnncore.cpu.laneops import OPS
from rnncore.cpu.lanes import lanes
from rnncore.cpu.machine import host

FUNCTIONS = ("exp", "log", "tanh", "sigmoid", "softplus")
ULP = {"exp": 4, "tanh": 4, "sigmoid": 4, "log": 2, "softplus": 4}

extended = np.finfo(np.longdouble).eps < 1e-18


def compiled(dtype):
    """A function of (addresses of input and of five outputs, count)."""
    count = host().lanes(dtype)
    f = lanes(dtype, count)
    load_n, store_n, item = f.load_n, f.store_n, f.item
    exp, log, tanh, sigmoid, softplus = (OPS[name] for name in FUNCTIONS)

    @njit(error_model="numpy", fastmath={"contract", "nsz"})
    def run(a, out, row, n):
        for j in range(0, n, count):
            at, left = j * item, n - j
            v = load_n(a + at, left)
            store_n(out + at, exp(v), left)
            store_n(out + row + at, log(v), left)
            store_n(out + 2 * row + at, tanh(v), left)
            store_n(out + 3 * row + at, sigmoid(v), left)
            store_n(out + 4 * row + at, softplus(v), left)

    return run


@pytest.fixture(scope="module", params=["float32", "float64"])
def measured(request):
    """Numbers of every magnitude and what the five functions give for them."""
    dtype = request.param
    rng = np.random.default_rng(0)
    if dtype == "float32":
        bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)  # every exponent, both signs, NaN
    else:
        bits = rng.integers(0, 2**64, 400_000, dtype=np.uint64)
    reach = 120 if dtype == "float32" else 760
    near = [rng.uniform(-reach, reach, 300_000), rng.uniform(-4, 4, 300_000), rng.uniform(0.9, 1.1, 100_000)]
    x = np.concatenate([bits.view(dtype), *[part.astype(dtype) for part in near]])
    out = np.empty((5, len(x)), dtype)
    compiled(dtype)(x.ctypes.data, out.ctypes.data, out.strides[0], len(x))
    return x, dict(zip(FUNCTIONS, out, strict=True))


def exact(name, x):
    """The function in a precision beyond that of x."""
    with np.errstate(all="ignore"):  # signalling NaN among the bits, overflow
        wide = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
        small = np.exp(-np.abs(wide))
        return {
            "exp": lambda: np.exp(wide),
            "log": lambda: np.log(wide),
            "tanh": lambda: np.tanh(wide),
            "sigmoid": lambda: np.where(wide < 0, small, 1) / (1 + small),
            "softplus": lambda: np.maximum(wide, 0) + np.log1p(small),
        }[name]()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_few_units_in_the_last_place(measured, name):
    x, values = measured
    if x.dtype == np.float64 and not extended:
        pytest.skip("this machine has no numbers beyond float64 to compare with")
    want = exact(name, x)
    with np.errstate(over="ignore", under="ignore"):
        rounded = want.astype(x.dtype)
    finite = np.isfinite(rounded)
    unit = np.spacing(np.abs(rounded[finite])).astype(want.dtype)
    error = np.abs(values[name][finite] - want[finite]) / unit
    worst = np.argmax(error)
    assert error[worst] <= ULP[name], f"{name}({x[finite][worst]!r}) is off by {error[worst]:.2f} units"
    np.testing.assert_array_equal(values[name][~finite], rounded[~finite])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_limits_are_exact(dtype):
    x = np.array([np.inf, -np.inf, np.nan, 0.0], dtype)
    out = np.empty((5, 4), dtype)
    compiled(dtype)(x.ctypes.data, out.ctypes.data, out.strides[0], 4)
    inf, nan, log2 = np.inf, np.nan, np.log(2).astype(dtype)
    np.testing.assert_array_equal(out[0], [inf, 0, nan, 1])
    np.testing.assert_array_equal(out[1], [inf, nan, nan, -inf])
    np.testing.assert_array_equal(out[2], [1, -1, nan, 0])
    np.testing.assert_array_equal(out[3], [1, 0, nan, 0.5])
    np.testing.assert_array_equal(out[4], [inf, 0, nan, log2])
