"""Functions as a device computes them, on this processor: the same code, whose every operation both round alike.

A device's compiler may fuse a product and a sum into one rounding or leave them two: the bounds hold for both.
"""

import numpy as np
import pytest
from numba import njit
from numba.extending import intrinsic

from rnncore import vecmath
from rnncore.cuda import trigonometry
from rnncore.cuda.lane import DeviceLane

REFERENCE = {
    "exp": np.exp, "log": np.log, "tanh": np.tanh, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos,
    "sigmoid": lambda x: np.where(x < 0, np.exp(-np.abs(x)), 1) / (1 + np.exp(-np.abs(x))),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}  # fmt: skip
BUILD = {name: getattr(vecmath, name) for name in ("exp", "log", "tanh", "sqrt", "sigmoid", "softplus")}
BUILD |= {"sin": trigonometry.sin, "cos": trigonometry.cos}
ULP = {"exp": 4, "log": 2, "tanh": 4, "sqrt": 0.5, "sigmoid": 4, "softplus": 4, "sin": 3, "cos": 3}


def compiled(names, flags):
    """A function of numbers and of rows for what each of `names` gives."""

    def op(build):
        @intrinsic
        def call(typingctx, a):
            return a(a), lambda context, builder, signature, args: build(DeviceLane(builder, args[0])).v

        return call

    lines = [f"        out[{k}, i] = {name}(x[i])" for k, name in enumerate(names)]
    space = {name: op(BUILD[name]) for name in names}
    exec("\n".join(["def run(x, out):", "    for i in range(x.size):", *lines]), space)
    return njit(error_model="numpy", fastmath=set(flags))(space["run"])


@pytest.fixture(scope="module", params=[("contract", "nsz"), ("nsz",)], ids=["fused", "apart"])
def measured(request):
    """float32 numbers of every magnitude, around multiples of pi/2 too, and what the functions give for them."""
    rng = np.random.default_rng(0)
    parts = [np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)]
    parts += [rng.uniform(-reach, reach, 200_000) for reach in (4, 110, 80_000)]
    parts += [np.arange(-100_000, 100_000) * (np.pi / 2), 1 + rng.uniform(-0.1, 0.1, 100_000)]
    x = np.concatenate([part.astype(np.float32) for part in parts])
    out = np.empty((len(BUILD), x.size), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vecmath, "FLAGS", request.param)
        compiled(list(BUILD), request.param)(x, out)
    return x, dict(zip(BUILD, out))


@pytest.mark.parametrize("name", BUILD)
def test_within_few_units_in_the_last_place(measured, name):
    x, values = measured
    with np.errstate(all="ignore"):
        want = REFERENCE[name](x.astype(np.float64))
        rounded = want.astype(np.float32)
    finite = np.isfinite(rounded)
    assert np.array_equal(values[name][~finite], rounded[~finite], equal_nan=True)  # infinities, and NaN for NaN
    error = np.abs(values[name][finite] - want[finite]) / np.spacing(np.abs(rounded[finite])).astype(np.float64)
    worst = np.argmax(error)
    assert error[worst] <= ULP[name], f"{name}({x[finite][worst]}): {error[worst]:.2f} units"
