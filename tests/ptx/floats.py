"""Floating point as the PTX ISA has it, of vectors: fused products rounded once, conversions, approximations."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

__all__ = ["bf16", "ex2", "fma32", "fma64", "larger", "lg2", "smaller", "tanh", "tf32", "to_integer"]


def _two_sum(a, b):
    """a + b, rounded, and what rounding left (Knuth 1969); nothing overflows."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _to_odd(s, left):
    """A rounded sum and what rounding left, as one number whose last bit says that there was more.

    Rounding it again, to at least two bits less, is as rounding the exact sum once (Boldo and Melquiond 2008).
    """
    more = np.isfinite(left) & (left != 0) & (s.view(np.int64) & 1 == 0)
    return np.where(more, np.nextafter(s, np.where(left > 0, np.inf, -np.inf)), s)


def fma32(a, b, c):
    """a b + c of float32 numbers, rounded once: float64 holds the product, and the sum of both is rounded to odd."""
    product, c = a.astype(np.float64) * b, c.astype(np.float64)
    s = product + c
    if ((s.view(np.int64) & 0x0FFFFFFF == 0) & (s != 0)).any():  # only these can lie between two float32 numbers
        s = _to_odd(*_two_sum(product, c))
    return s.astype(np.float32)


_SPLIT = float(2**27 + 1)
_LARGE, _SMALL = 2.0**480, 2.0**-480


def _two_product(a, b):
    """a b, rounded, and what rounding left (Veltkamp 1968, Dekker 1971)."""
    p = a * b
    ah, bh = (x * _SPLIT - (x * _SPLIT - x) for x in (a, b))
    al, bl = a - ah, b - bh
    return p, al * bl - (((p - ah * bh) - al * bh) - ah * bl)


def fma64(a, b, c):
    """a b + c of float64 numbers, rounded once (Boldo and Melquiond 2008); by fractions where exponents are extreme."""
    a, b, c = np.broadcast_arrays(a, b, c)
    upper, lower = _two_product(a, b)
    near, rest = _two_sum(c, lower)
    high, low = _two_sum(upper, near)
    found = high + _to_odd(*_two_sum(rest, low))
    plain = np.where(np.isfinite(a) & np.isfinite(b) & np.isinf(c), c, a * b + c)
    sizes = np.abs([a, b, c, a * b])
    extreme = ((sizes > _LARGE) | (sizes < _SMALL) & (sizes != 0)).any(0) & np.isfinite([a, b, c]).all(0)
    found = np.where(np.isfinite(plain) & (found != 0), found, plain)  # the sign of 0 is that of the sum
    for k in np.flatnonzero(extreme):
        exact = Fraction(float(a[k])) * Fraction(float(b[k])) + Fraction(float(c[k]))
        found[k] = _nearest(exact) if exact else plain[k]
    return found


def _nearest(exact):
    try:
        return float(exact)
    except OverflowError:
        return np.inf if exact > 0 else -np.inf


def smaller(a, b):
    """``min``: of a number and NaN the number; -0 is less than +0."""
    return np.where(np.isnan(b) | (a < b) | (a == b) & np.signbit(a), a, b)


def larger(a, b):
    """``max``: of a number and NaN the number; +0 is more than -0."""
    return np.where(np.isnan(b) | (a > b) | (a == b) & ~np.signbit(a), a, b)


def to_integer(x, dtype, rounded):
    """``cvt`` to integers: beyond the ends it stays at them; of NaN see the PTX ISA."""
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    wide = rounded(x.astype(np.float64))
    found = np.where(wide >= float(highest), highest, np.where(wide <= float(lowest), lowest, 0)).astype(dtype)
    inside = (wide > float(lowest)) & (wide < float(highest))
    found[inside] = wide[inside].astype(dtype)
    none = 1 << 8 * np.dtype(dtype).itemsize - 1 if x.itemsize == 8 or found.itemsize == 8 else 0
    found[np.isnan(wide)] = np.array(none, np.uint64).astype(dtype)
    return found


def tf32(x):
    """``cvt.rna.tf32.f32``: to 10 bits of mantissa, to nearest, ties away from 0."""
    bits = x.view(np.uint32)
    return np.where(np.isfinite(x), bits + np.uint32(0x1000) & np.uint32(0xFFFFE000), bits)


def bf16(x):
    """``cvt.rn.bf16.f32``: the upper half of the bits, to nearest, ties to even; NaN is the canonical one."""
    bits = x.view(np.uint32)
    near = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1)) >> np.uint32(16)
    return np.where(np.isnan(x), np.uint32(0x7FFF), near)


def _within(value, bits):
    """Off by as much as it may be: rounded to so many bits, the leading one among them."""
    fraction, exponent = np.frexp(value)
    near = np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)
    return np.where(np.isfinite(value), near, value)


def ex2(x):
    """``ex2.approx.ftz.f32``: within 2**-22 of the result; subnormal numbers are 0."""
    value = _within(np.exp2(x.astype(np.float64)), 22)
    return np.where(value < 2.0**-126, 0, value).astype(np.float32)


def lg2(x):
    """``lg2.approx.f32``: within 2**-22, and of the result where that is more than 1."""
    value = np.log2(x.astype(np.float64))
    near = np.where(np.isfinite(value), np.ldexp(np.rint(np.ldexp(value, 21)), -21), value)
    return np.where(np.abs(value) < 1, near, _within(value, 22)).astype(np.float32)


def tanh(x):
    """``tanh.approx.f32``: within 2**-11 of the result."""
    return _within(np.tanh(x.astype(np.float64)), 11).astype(np.float32)
