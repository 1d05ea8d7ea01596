"""exp, log, tanh, sigmoid, softplus as LLVM IR, for scalars and for vectors of lanes alike, on a CPU and on a GPU.

pip's llvmlite carries no SVML, and a libm call in a loop stops the vectoriser; so these are ours.
Bounds (tested over the whole range): exp, tanh, sigmoid within 4 ulp; NaN gives NaN; infinities
give the exact limits; subnormal results are kept. Coefficients: exp for float32 from the Cephes
library (S. L. Moshier 1989), exp for float64 the Taylor polynomial of degree 13; log after
FreeBSD's msun (Sun Microsystems 1993).
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

__all__ = [
    "FLAGS", "Lane", "cos", "exp", "larger", "log", "relu", "sigmoid", "sin", "smaller", "softplus", "sqrt", "tanh",
]  # fmt: skip

# Never reassoc: it folds the range reduction away. Never nnan/ninf: they delete the checks.
FLAGS = ("contract", "nsz")


class Lane:
    """A value in IR with arithmetic: a float, an integer of its width, or a vector of either."""

    def __init__(self, builder, value):
        self.b, self.v = builder, value

    @property
    def elem(self):
        return self.v.type.element if isinstance(self.v.type, ir.VectorType) else self.v.type

    @property
    def single(self) -> bool:
        return isinstance(self.elem, ir.FloatType)

    @property
    def bits(self) -> int:
        return 32 if self.single else 64

    def _int_type(self):
        return self._like(ir.IntType(self.bits))

    def _like(self, elem):
        return ir.VectorType(elem, self.v.type.count) if isinstance(self.v.type, ir.VectorType) else elem

    def const(self, number):
        """`number` in every lane, in this value's type."""
        if isinstance(self.v.type, ir.VectorType):
            return ir.Constant(self.v.type, [number] * self.v.type.count)
        return ir.Constant(self.v.type, number)

    def _other(self, o):
        return o.v if isinstance(o, Lane) else self.const(o)

    def _new(self, value):
        return type(self)(self.b, value)

    def __add__(self, o):
        return self._new(self.b.fadd(self.v, self._other(o), flags=FLAGS))

    def __sub__(self, o):
        return self._new(self.b.fsub(self.v, self._other(o), flags=FLAGS))

    def __rsub__(self, o):
        return self._new(self.b.fsub(self.const(o), self.v, flags=FLAGS))

    def __mul__(self, o):
        return self._new(self.b.fmul(self.v, self._other(o), flags=FLAGS))

    def __truediv__(self, o):
        return self._new(self.b.fdiv(self.v, self._other(o), flags=FLAGS))

    def __rtruediv__(self, o):
        return self._new(self.b.fdiv(self.const(o), self.v, flags=FLAGS))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self._new(self.b.fneg(self.v))

    def fma(self, a, c):
        """self * a + c, rounded once."""
        return self._new(self.intrinsic("llvm.fma", self.v, self._other(a), self._other(c)))

    def intrinsic(self, name: str, *args):
        kind = f"f{self.bits}"
        if isinstance(self.v.type, ir.VectorType):
            kind = f"v{self.v.type.count}{kind}"
        fn = cgutils.get_or_insert_function(
            self.b.module, ir.FunctionType(self.v.type, [a.type for a in args]), f"{name}.{kind}"
        )
        return self.b.call(fn, args)

    def abs(self):
        return self._new(self.intrinsic("llvm.fabs", self.v))

    def compare(self, op: str, o):
        ordered = self.b.fcmp_unordered if op == "!=" else self.b.fcmp_ordered
        return ordered(op, self.v, self._other(o))

    def select(self, condition, other):
        """self where the condition holds, else other."""
        return self._new(self.b.select(condition, self.v, self._other(other)))

    # integers of the same width
    def as_int(self):
        return self._new(self.b.bitcast(self.v, self._int_type()))

    def as_float(self):
        elem = ir.FloatType() if self.elem.width == 32 else ir.DoubleType()
        return self._new(self.b.bitcast(self.v, self._like(elem)))

    def iadd(self, o):
        return self._new(self.b.add(self.v, self._other(o)))

    def isub(self, o):
        return self._new(self.b.sub(self.v, self._other(o)))

    def shl(self, n: int):
        return self._new(self.b.shl(self.v, self.const(n)))

    def ashr(self, n: int):
        return self._new(self.b.ashr(self.v, self.const(n)))

    def iand(self, n: int):
        return self._new(self.b.and_(self.v, self.const(n)))

    def ior(self, o):
        return self._new(self.b.or_(self.v, self._other(o)))

    def to_float(self):
        elem = ir.FloatType() if self.elem.width == 32 else ir.DoubleType()
        return self._new(self.b.sitofp(self.v, self._like(elem)))


def _clamp(x: Lane, low: float, high: float) -> Lane:
    """`hi if x > hi else x`: NaN stays NaN."""
    x = x._new(x.const(high)).select(x.compare(">", high), x)
    return x._new(x.const(low)).select(x.compare("<", low), x)


def _polynomial(z: Lane, coefficients) -> Lane:
    total = z._new(z.const(coefficients[0]))
    for c in coefficients[1:]:
        total = total.fma(z, c)
    return total


def _two_to(n: Lane, bits: int, lift: int = 0) -> Lane:
    """2**(n + lift), a normal number, for an integer n of which only the lowest bits count."""
    bias, shift = (127, 23) if bits == 32 else (1023, 52)
    return n.shl(shift).iadd(bias + lift << shift).as_float()


_TAYLOR = (1.0, 1.0, 2.0, 6.0, 24.0, 120.0, 720.0, 5040.0, 40320.0, 362880.0, 3628800.0, 39916800.0, 479001600.0,
           6227020800.0)  # fmt: skip
# 1.5 * 2**(mantissa bits): adding it rounds, and leaves the integer in the lowest bits
_MAGIC = {32: 12582912.0, 64: 6755399441055744.0}
# (e**(2b) - 1) / b = 2 + 2b + ... for |b| <= ln2 / 4, least largest relative error (1.4e-8) by Lawson's iteration
_DOUBLED = (0.08894884586334229, 0.26771724224090576, 0.6666696667671204, 1.3333238363265991, 2.0, 2.0)


def exp(x: Lane) -> Lane:
    """e**x with two scalings, so that subnormals come out right."""
    p, k = _exp_parts(_clamp(x, -104.5, 89.5) if x.single else _clamp(x, -746.5, 710.5))
    half = k.ashr(1)
    return p * _two_to(half, x.bits) * _two_to(k.isub(half), x.bits)


def _exp_parts(x: Lane) -> tuple[Lane, Lane]:
    """e**x = p 2**k for a moderate x: x = k ln2 + r, p a polynomial in r; k in the lowest bits of an integer."""
    single = x.single
    t = x.fma(1.4426950408889634, _MAGIC[x.bits])
    n = t - _MAGIC[x.bits]
    if single:
        r = n.fma(2.12194440e-4, n.fma(-0.693359375, x))
        p = _polynomial(r, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                            5.0000001201e-1))  # fmt: skip
        p = p.fma(r * r, r) + 1.0
    else:
        r = n.fma(-1.90821492927058770002e-10, n.fma(-6.93147180369123816490e-01, x))
        p = _polynomial(r, [1.0 / f for f in reversed(_TAYLOR[2:])])
        p = p.fma(r * r, r) + 1.0
    return p, t.as_int()


def sigmoid(x: Lane) -> Lane:
    """e / (1 + e) on the side where e = exp(-|x|) keeps small results exact."""
    low, lift = (-104.5, 64) if x.single else (-746.5, 512)  # p 2**k may be subnormal: one factor is lifted, one lowers
    a = -x.abs()
    p, k = _exp_parts(x._new(x.const(low)).select(a.compare("<", low), a))
    e = p * _two_to(k, x.bits, lift) * 2.0**-lift
    one = x._new(x.const(1.0))
    return e.select(x.compare("<", 0.0), one) / (e + 1.0)


def tanh(x: Lane) -> Lane:
    """m / (m + 2) with the sign of x, where m = e**(2|x|) - 1 = 2**k (e**(2b) - 1) + 2**k - 1, |x| = k ln2 / 2 + b.

    One rounded ln2 / 2 serves: what is off by grows with k, and what m does to the result falls faster.
    """
    single = x.single
    a, end = x.abs(), 10.0 if single else 20.0  # from here on it is 1
    a = x._new(x.const(end)).select(a.compare(">", end), a)
    t = a.fma(2.8853900817779268, _MAGIC[x.bits])
    k = t - _MAGIC[x.bits]
    b = k.fma(-0.34657359027997264, a)
    doubled = [2.0**n / factorial for n, factorial in enumerate(_TAYLOR)][:0:-1]
    p = b * _polynomial(b, _DOUBLED if single else doubled)
    scale = _two_to(t.as_int(), x.bits)
    m = p.fma(scale, scale - 1.0)
    y = m / (m + 2.0)
    sign = x.as_int().iand(-(1 << x.bits - 1))  # y is not negative; NVVM 12 knows no copysign
    return y.as_int().ior(sign).as_float()


def log(x: Lane) -> Lane:
    """x = 2**k m with m near 1; log m from s = f / (2 + f), f = m - 1."""
    single = x.single
    tiny = x.compare("<", 1.17549435e-38 if single else 2.2250738585072014e-308)
    scaled = (x * (8388608.0 if single else 4503599627370496.0)).select(tiny, x)
    bits = scaled.as_int()
    shift = 23 if single else 52
    offset = 0x3F3504F3 if single else 0x3FE6A09E667F3BCD  # sqrt(1/2)
    k = bits.isub(offset).ashr(shift)
    m = bits.isub(k.shl(shift)).as_float()
    kf = k.to_float()
    kf = (kf - (23.0 if single else 52.0)).select(tiny, kf)
    f = m - 1.0
    s = f / (f + 2.0)
    z = s * s
    if single:
        r = _polynomial(z, (0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693)) * z
        high, low = 6.9313812256e-01, 9.0580006145e-06
    else:
        r = _polynomial(z, (1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                            2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                            6.666666666666735130e-01)) * z  # fmt: skip
        high, low = 6.93147180369123816490e-01, 1.90821492927058770002e-10
    square = f * f * 0.5
    result = kf * high - ((square - (s * (square + r) + kf * low)) - f)
    infinite = x._new(x.const(float("inf")))
    result = infinite.select(x.compare("==", float("inf")), result)
    result = (-infinite).select(x.compare("==", 0.0), result)
    result = x._new(x.const(float("nan"))).select(x.compare("<", 0.0), result)
    return x.select(x.compare("!=", x), result)


def softplus(x: Lane) -> Lane:
    """max(x, 0) + log1p(exp(-|x|)); log1p by Kahan's correction of log(1 + e)."""
    e = exp(-x.abs())
    u = e + 1.0
    d = u - 1.0
    one = x._new(x.const(1.0))
    safe = d.select(d.compare(">", 0.0), one)
    tail = (log(u) * (e / safe)).select(d.compare(">", 0.0), e)
    result = x.select(x.compare(">", 0.0), 0.0) + tail
    return x.select(x.compare("!=", x), result)


def sqrt(x: Lane) -> Lane:
    """The square root, rounded once."""
    return x._new(x.intrinsic("llvm.sqrt", x.v))


def sin(x: Lane) -> Lane:
    """The sine that the library of the processor offers."""
    return x._new(x.intrinsic("llvm.sin", x.v))


def cos(x: Lane) -> Lane:
    """The cosine that the library of the processor offers."""
    return x._new(x.intrinsic("llvm.cos", x.v))


def larger(a: Lane, b: Lane) -> Lane:
    """The larger of two; NaN where the first is NaN."""
    return a.select(a.b.or_(a.compare(">=", b), a.compare("!=", a)), b)


def smaller(a: Lane, b: Lane) -> Lane:
    """The smaller of two; NaN where the first is NaN."""
    return a.select(a.b.or_(a.compare("<=", b), a.compare("!=", a)), b)


def relu(a: Lane) -> Lane:
    """a where it is positive or NaN, else 0."""
    return a.select(a.b.or_(a.compare(">", 0.0), a.compare("!=", a)), 0.0)
