"""Twins of a device's approximations (`rnncore.cuda.fast`): as far off as the PTX ISA lets each instruction be.

What an instruction gives is rounded to a grid so coarse that the largest error is the documented one; around it, every
product and sum is of float32 numbers, as on the device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["FAST"]

_LN2 = 0.69314718055994531
_PER_LN2, _LN2_SINGLE = np.float32(1.0 / _LN2), np.float32(_LN2)


def _to_bits(value: float, bits: int) -> float:
    """Rounded to so many bits, the leading one among them: by up to 2**-bits of it."""
    if not math.isfinite(value) or value == 0:
        return value
    fraction, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(fraction, bits)), exponent - bits)


def _ex2(a: Any) -> Any:
    """ex2.approx.ftz.f32: within 2**-22 of the result; what is subnormal is 0."""
    value = float(a)
    found = math.inf if value >= 128 else 0.0 if value < -126 else 2.0**value if value == value else value
    return np.float32(_to_bits(found, 22))


def _tanh(a: Any) -> Any:
    """tanh.approx.f32: within 2**-11 of the result."""
    return np.float32(_to_bits(math.tanh(float(a)), 11))


def _lg2(a: Any) -> Any:
    """lg2.approx.f32, of numbers from 1 on: within 2**-22 below 2, of the result from there."""
    value = math.log2(float(a)) if math.isfinite(a) else float(a)
    return np.float32(math.ldexp(round(math.ldexp(value, 21)), -21) if value < 1 else _to_bits(value, 22))


def _exp(a: Any) -> Any:
    return _ex2(a * _PER_LN2)


def _sigmoid(a: Any) -> Any:
    return np.float32(0.5 * float(_tanh(a * np.float32(0.5))) + 0.5)


def _softplus(a: Any) -> Any:
    tail = _lg2(_exp(-abs(a)) + np.float32(1))
    return np.float32(float(tail) * float(_LN2_SINGLE) + (0.0 if a < 0 else float(a)))


FAST = {"exp": _exp, "tanh": _tanh, "sigmoid": _sigmoid, "softplus": _softplus}
