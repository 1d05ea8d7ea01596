"""sin and cos of float32 numbers of any size, without a float64 instruction: the device's own library takes some.

x = q pi/2 + r. For moderate x, pi/2 is taken off in three parts (W. J. Cody and W. Waite 1980); for large ones x 2/pi
is a product in fixed point, with as many bits of 2/pi as it takes (M. Payne and R. Hanek 1983), so that r is rounded
and no more. Polynomials: least largest relative error on [-pi/4, pi/4], after N. Juffa.
"""

from __future__ import annotations

from llvmlite import ir

from ..vecmath import Lane

__all__ = ["cos", "sin"]

_I32, _I64 = ir.IntType(32), ir.IntType(64)
# 2/pi, 2 bits before the point
_TWO_OVER_PI = 0x28BE60DB, 0x9391054A, 0x7F09D5F4, 0x7D4D3770, 0x36D8A566, 0x4F10E410, 0x7F9458EA
_SMALL = 71476.0  # up to here three parts of pi/2 are enough
_MAGIC = 12582912.0  # adding it rounds, and leaves the integer in the lowest bits


def sin(x: Lane) -> Lane:
    """The sine of a float32 number, within 3 units in the last place."""
    return _of_quadrant(x, 0)


def cos(x: Lane) -> Lane:
    """The cosine of a float32 number, within 3 units in the last place."""
    return _of_quadrant(x, 1)


def _of_quadrant(x: Lane, turn: int) -> Lane:
    b = x.b
    (near, near_quadrant), (far, far_quadrant) = _near(x), _far(x)
    small = x.abs().compare("<=", _SMALL)
    r = near.select(small, far)
    quadrant = b.add(b.select(small, near_quadrant, far_quadrant), _I32(turn))
    odd = b.icmp_signed("!=", b.and_(quadrant, _I32(1)), _I32(0))
    upper = b.icmp_signed("!=", b.and_(quadrant, _I32(2)), _I32(0))
    y = _cosine(r).select(odd, _sine(r))
    y = (-y).select(upper, y)
    finite = x.abs().compare("<", float("inf"))
    return y.select(finite, x * float("nan"))


def _near(x: Lane) -> tuple[Lane, ir.Value]:
    j = x.fma(0.636619772367581343, _MAGIC)
    quadrant = j.as_int().v
    j = j - _MAGIC
    r = j.fma(-1.57079601287841796875, x)
    r = j.fma(-3.1391647326017846e-07, r)
    return j.fma(-5.390302529957764e-15, r), quadrant


def _far(x: Lane) -> tuple[Lane, ir.Value]:
    """x 2/pi modulo 4 with 62 bits after the point, as a signed number around the nearest quadrant."""
    b, bits = x.b, x.as_int().v
    mantissa = b.or_(b.shl(b.and_(bits, _I32(0x7FFFFF)), _I32(8)), _I32(0x80000000))
    exponent = b.sub(b.and_(b.lshr(bits, _I32(23)), _I32(0xFF)), _I32(126))
    high, middle, low = _digits(b, exponent)
    wide = b.zext(mantissa, _I64)
    p = b.lshr(b.mul(wide, b.zext(low, _I64)), _I64(32))
    p = b.add(b.mul(wide, b.zext(middle, _I64)), p)
    p = b.add(b.shl(b.zext(b.mul(mantissa, high), _I64), _I64(32)), p)
    rounded = b.add(p, _I64(1 << 61))
    quadrant = b.trunc(b.lshr(rounded, _I64(62)), _I32)
    rest = b.sub(p, b.and_(rounded, _I64(3 << 62)))  # from -1/2 to 1/2, 62 bits after the point
    r = x._new(b.sitofp(rest, ir.FloatType())) * (1.57079632679489662 * 2.0**-62)
    negative = x.compare("<", 0.0)
    return (-r).select(negative, r), b.select(negative, b.neg(quadrant), quadrant)


def _digits(b: ir.IRBuilder, exponent: ir.Value) -> list[ir.Value]:
    """96 bits of 2/pi that matter to a number of this exponent."""
    word, shift = b.lshr(exponent, _I32(5)), b.and_(exponent, _I32(31))
    words = []
    for k in range(4):  # the word before, that one, and two more
        found = ir.Constant(_I32, 0)
        for i in range(5):
            if 0 <= i + k - 1 < len(_TWO_OVER_PI):
                here = b.icmp_signed("==", word, _I32(i))
                found = b.select(here, _I32(_TWO_OVER_PI[i + k - 1]), found)
        words.append(b.zext(found, _I64))
    wide = b.zext(shift, _I64)
    pairs = [b.or_(b.shl(first, _I64(32)), second) for first, second in zip(words, words[1:])]
    return [b.trunc(b.lshr(b.shl(pair, wide), _I64(32)), _I32) for pair in pairs]


def _polynomial(s: Lane, *coefficients: float) -> Lane:
    total = s._new(s.const(coefficients[0]))
    for c in coefficients[1:]:
        total = total.fma(s, c)
    return total


def _sine(r: Lane) -> Lane:
    s = r * r
    return _polynomial(s, 2.86567956e-6, -1.98559923e-4, 8.33338592e-3, -1.66666672e-1).fma(s * r, r)


def _cosine(r: Lane) -> Lane:
    s = r * r
    return _polynomial(s, 2.44677067e-5, -1.38877297e-3, 4.16666567e-2, -0.5, 1.0)
