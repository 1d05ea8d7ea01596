"""The interpreter of PTX, instruction by instruction, held to the PTX ISA's text and to exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from ptx import floats
from ptx.operands import UnknownInstruction
from ptx.written import computed, run

INT = 2**31 - 1
INTEGERS = [
    ("add.s32 %r0, %r10, %r11;", "i4 i4 i4", ([INT, -5], [1, 7]), [-INT - 1, 2]),
    ("sub.s64 %rd0, %rd10, 7;", "i8 i8", ([3, -(2**63)],), [-4, 2**63 - 7]),
    ("mul.lo.s64 %rd0, %rd10, %rd11;", "i8 i8 i8", ([2**40, -3], [2**30, 5]), [0, -15]),
    ("mul.hi.u32 %r0, %r10, %r11;", "u4 u4 u4", ([2**31, 5], [6, 5]), [3, 0]),
    ("mul.hi.s64 %rd0, %rd10, %rd11;", "i8 i8 i8", ([2**62, -1], [4, 1]), [1, -1]),
    ("mul.wide.u32 %rd0, %r10, %r11;", "u8 u4 u4", ([2**32 - 1], [2**32 - 1]), [(2**32 - 1) ** 2]),
    ("mul.wide.s32 %rd0, %r10, %r11;", "i8 i4 i4", ([-INT], [INT]), [-(INT**2)]),
    ("mad.lo.s32 %r0, %r10, %r11, 5;", "i4 i4 i4", ([3, -3], [7, 7]), [26, -16]),
    ("div.s32 %r0, %r10, %r11;", "i4 i4 i4", ([7, -7, 7, -7, 6], [2, 2, -2, -2, -3]), [3, -3, -3, 3, -2]),
    ("rem.s32 %r0, %r10, %r11;", "i4 i4 i4", ([7, -7, 7, -7], [2, 2, -2, -2]), [1, -1, 1, -1]),
    ("div.u32 %r0, %r10, %r11;", "u4 u4 u4", ([2**32 - 1, 9], [2, 0]), [2**31 - 1, 2**32 - 1]),
    ("min.s64 %rd0, %rd10, -4;", "i8 i8", ([-5, 3],), [-5, -4]),
    ("max.u32 %r0, %r10, %r11;", "u4 u4 u4", ([2**32 - 1], [1]), [2**32 - 1]),
    ("and.b64 %rd0, %rd10, 8589934588;", "u8 u8", ([2**33 + 7],), [4]),
    ("not.b32 %r0, %r10;", "u4 u4", ([0, 5],), [2**32 - 1, 2**32 - 6]),
    ("shl.b32 %r0, %r10, %r11;", "u4 u4 u4", ([1, 1, 3, 1], [31, 32, 1, 99]), [2**31, 0, 6, 0]),
    ("shr.u64 %rd0, %rd10, %r11;", "u8 u8 u4", ([2**63, 2**63, 2**63], [63, 64, 1]), [1, 0, 2**62]),
    ("shr.s64 %rd0, %rd10, %r11;", "i8 i8 u4", ([-8, -8, 8], [1, 200, 64]), [-4, -1, 0]),
    ("bfi.b32 %r0, %r10, %r11, 4, 8;", "u4 u4 u4", ([0xFFF, 0], [0, 0xFFFFFFFF]), [0xFF0, 0xFFFFF00F]),
    ("bfi.b64 %rd0, %rd10, %rd11, 32, 32;", "u8 u8 u8", ([5], [2**40 + 3]), [5 * 2**32 + 3]),
    ("neg.s32 %r0, %r10;", "i4 i4", ([5, -5],), [-5, 5]),
    ("cvt.s64.s32 %rd0, %r10;", "i8 i4", ([-5],), [-5]),
    ("cvt.u64.u32 %rd0, %r10;", "i8 i4", ([-5],), [2**32 - 5]),
    ("cvt.u32.u64 %r0, %rd10;", "u4 u8", ([2**40 + 3],), [3]),
    ("mov.b64 %rd0, {%r10, %r11};", "u8 u4 u4", ([5], [6]), [6 * 2**32 + 5]),
    ("mov.b64 {%r5, %r0}, %rd10;", "u4 u8", ([6 * 2**32 + 5],), [6]),
    ("mov.b32 %r0, %f10;", "u4 f4", ([1.0],), [0x3F800000]),
]


@pytest.mark.parametrize("instruction, kinds, operands, expected", INTEGERS, ids=[i[0] for i in INTEGERS])
def test_integers_wrap_around_and_bits_are_bits(instruction, kinds, operands, expected):
    assert computed(instruction, kinds, *operands).tolist() == expected


NAN, INF = float("nan"), float("inf")


def single(bits):
    return float(np.uint32(bits).view(np.float32))


FLOATS = [
    ("add.f32 %f0, %f10, 0f3F800000;", "f4 f4", ([2.0**24, 0.5],), [2.0**24, 1.5]),
    ("div.rn.f32 %f0, %f10, %f11;", "f4 f4 f4", ([1, -1, 0], [3, 0, 0]), [single(0x3EAAAAAB), -INF, NAN]),
    ("sqrt.rn.f64 %fd0, %fd10;", "f8 f8", ([2, -1],), [2**0.5, NAN]),
    ("neg.f32 %f0, %f10;", "f4 f4", ([0.0, -2.5],), [-0.0, 2.5]),
    ("abs.f64 %fd0, %fd10;", "f8 f8", ([-0.0, -2.5],), [0.0, 2.5]),
    ("min.f32 %f0, %f10, %f11;", "f4 f4 f4", ([1, NAN, 2, 0.0], [2, 3, NAN, -0.0]), [1, 3, 2, -0.0]),
    ("max.f32 %f0, %f10, %f11;", "f4 f4 f4", ([1, NAN, 2, -0.0], [2, 3, NAN, 0.0]), [2, 3, 2, 0.0]),
    ("cvt.rn.f32.s64 %f0, %rd10;", "f4 i8", ([-3, 2**24 + 1],), [-3, 2**24]),
    ("cvt.f64.f32 %fd0, %f10;", "f8 f4", ([0.1],), [single(0x3DCCCCCD)]),
    ("cvt.rn.f32.f64 %f0, %fd10;", "f4 f8", ([0.1, 1e300],), [single(0x3DCCCCCD), INF]),
    ("mov.f32 %f0, 0f3E2AAAAA;\nfma.rn.f32 %f0, %f10, %f10, %f0;", "f4 f4", ([0.0],), [single(0x3E2AAAAA)]),
]  # fmt: skip
CONDITIONS = {"lt": 0b0010, "le": 0b0110, "gt": 0b0001, "ge": 0b0101, "eq": 0b0100, "ne": 0b0011, "ltu": 0b1010,
              "geu": 0b1101, "equ": 0b1100, "neu": 0b1011, "nan": 0b1000, "num": 0b0111}  # fmt: skip


@pytest.mark.parametrize("instruction, kinds, operands, expected", FLOATS, ids=[i[0] for i in FLOATS])
def test_numbers_are_rounded_once_and_keep_their_signs(instruction, kinds, operands, expected):
    got = computed(instruction, kinds, *operands)
    np.testing.assert_array_equal(got, np.array(expected, got.dtype))
    np.testing.assert_array_equal(np.signbit(got), np.signbit(np.array(expected, got.dtype)) | np.isnan(got))


@pytest.mark.parametrize("name, holds", CONDITIONS.items())
def test_comparisons_with_nan_hold_or_not_as_they_are_called(name, holds):
    """Bits of `holds`: of NaN, of equal numbers, of less, of more."""
    text = f"setp.{name}.f32 %p1, %f10, %f11;\nselp.b32 %r0, 1, 0, %p1;"
    got = computed(text, "u4 f4 f4", [NAN, 1, 1, 2], [1, 1, 2, 1])
    assert got.tolist() == [holds >> 3, holds >> 2 & 1, holds >> 1 & 1, holds & 1]


def test_comparisons_of_integers_are_of_their_types():
    for name, first in (("lt.s32", 1), ("lt.u32", 0), ("hi.u32", 1), ("ne.s32", 1)):
        text = f"setp.{name} %p1, %r10, %r11;\nselp.b32 %r0, 1, 0, %p1;"
        assert computed(text, "u4 i4 i4", [-1, 4], [1, 4]).tolist() == [first, 0]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_fused_product_is_the_exact_one_rounded_once(dtype):
    """Among them halves of a last bit, for which a sum of rounded numbers is rounded twice; cancellation; tiny ones."""
    rng, kind = np.random.default_rng(0), np.dtype(dtype).type
    a, b = (kind(rng.standard_normal(600) * 2.0 ** rng.integers(-20, 20, 600)) for _ in range(2))
    product = a * b
    c = np.concatenate([
        -product[:200],  # what is left is the rounding of the product
        kind(product[200:400] * 2.0 ** rng.integers(20, 60, 200).astype(kind)),
        kind(rng.standard_normal(200)),
    ])  # fmt: skip
    bits = np.finfo(dtype).nmant
    a[:50], b[:50] = 1 + 2.0**-bits, 1 + kind(2.0) ** -rng.integers(1, bits, 50).astype(kind)
    c[:50] = 2.0 ** rng.integers(0, bits, 50) * (1 + 2.0**-bits)
    a[590:], c[590:] = a[590:] * kind(np.finfo(dtype).tiny), kind(np.finfo(dtype).tiny) * rng.random(10)
    name = {"f4": ("f", "f32"), "f8": ("fd", "f64")}[dtype]
    text = "fma.rn.{1} %{0}0, %{0}10, %{0}11, %{0}12;".format(*name)
    got = computed(text, " ".join([dtype] * 4), a, b, c)
    for k in range(600):
        exact = Fraction(float(a[k])) * Fraction(float(b[k])) + Fraction(float(c[k]))
        assert float(got[k]) == nearest(exact, dtype), k


def nearest(exact, dtype):
    """A fraction rounded to nearest, ties to even, by integers alone."""
    if not exact:
        return 0.0
    info = np.finfo(dtype)
    exponent = max(len(bin(abs(exact.numerator))) - len(bin(exact.denominator)), int(info.minexp)) - 2
    unit = Fraction(2) ** (max(exponent, int(info.minexp)) - info.nmant)
    while abs(exact) >= unit * 2 ** (info.nmant + 1):
        unit *= 2
    return float(round(exact / unit) * unit)


def test_fused_products_of_what_is_no_number_or_far_from_1():
    big = 2.0**1000
    a = [INF, INF, 0.0, big, -0.0, 2.0**-1040, 1.0, big, big, -big]
    b = [2.0, 0.0, INF, big, 5.0, 0.5, NAN, 2.0**24, 2.0**23, big]
    c = [-INF, 1.0, 1.0, -INF, -0.0, 2.0**-1040, 1.0, -(2.0**1023), 2.0**1000, 1.0]
    got = computed("fma.rn.f64 %fd0, %fd10, %fd11, %fd12;", "f8 f8 f8 f8", a, b, c)
    np.testing.assert_array_equal(
        got, [NAN, NAN, NAN, -INF, -0.0, 1.5 * 2.0**-1040, NAN, 2.0**1023, 2.0**1023 + 2.0**1000, -INF]
    )
    assert np.signbit(got[4])


@pytest.mark.parametrize("how, expected", [
    ("rzi.s32", [2, -2, 3, INT, -INT - 1, 0]), ("rni.s32", [2, -2, 4, INT, -INT - 1, 0]),
    ("rmi.s32", [2, -3, 3, INT, -INT - 1, 0]), ("rpi.u32", [3, 0, 4, 2**32 - 1, 0, 0]),
])  # fmt: skip
def test_numbers_become_integers_as_they_are_told_to_be_rounded(how, expected):
    kinds = "u4 f4" if "u32" in how else "i4 f4"
    got = computed(f"cvt.{how}.f32 %r0, %f10;", kinds, [2.5, -2.5, 3.5, 1e20, -1e20, NAN])
    assert got.tolist() == expected


def test_numbers_are_rounded_for_tensor_cores():
    """Halves go away from 0 for tf32, and to even for bfloat16; of two, the first is the upper half."""
    values = [1.0, 1 + 2.0**-11, 1 + 2.0**-8, 1 + 3 * 2.0**-8, INF]
    got = computed("cvt.rna.tf32.f32 %r0, %f10;", "u4 f4", values)
    assert got.tolist() == [0x3F800000, 0x3F802000, 0x3F808000, 0x3F818000, 0x7F800000]
    got = computed("cvt.rn.bf16x2.f32 %r0, %f10, %f11;", "u4 f4 f4", values, [1.0] * 5)
    assert got.tolist() == [k << 16 | 0x3F80 for k in (0x3F80, 0x3F80, 0x3F80, 0x3F82, 0x7F80)]


@pytest.mark.parametrize("op, exact, error, low, high", [
    ("ex2.approx.ftz", np.exp2, 2.0**-22, -125, 127), ("tanh.approx", np.tanh, 2.0**-11, -9, 9),
])  # fmt: skip
def test_approximations_are_off_by_as_much_as_they_may_be(op, exact, error, low, high):
    x = np.linspace(low, high, 996, dtype=np.float32)
    relative = np.abs(computed(f"{op}.f32 %f0, %f10;", "f4 f4", x) / exact(x.astype(float)) - 1)
    rounding = 2.0**-24
    assert error / 4 < np.nanmax(relative) <= error + rounding


def test_logarithms_are_off_by_as_much_as_they_may_be():
    x = np.linspace(0.5, 3, 997, dtype=np.float32)
    got = np.abs(computed("lg2.approx.f32 %f0, %f10;", "f4 f4", x) - np.log2(x.astype(float)))
    assert 2.0**-24 < got.max() <= 2.0**-22 + 2.0**-24
    assert floats.ex2(np.float32([-127, 0])).tolist() == [0, 1]


@pytest.mark.parametrize("instruction", [
    "lop3.b32 %r0, %r10, %r10, %r10, 128;", "fma.rz.f32 %f0, %f10, %f10, %f10;", "add.sat.f32 %f0, %f10, %f10;",
    "shfl.sync.down.b32 %r0, %r10, 1, 31, -1;", "setp.lt.and.f32 %p1, %f10, %f10, %p1;",
    "call.uni somewhere, (param0);",
])  # fmt: skip
def test_what_is_not_known_is_named(instruction):
    first = "mov.u32 %r10, 0;\nmov.f32 %f10, 0f00000000;\nsetp.eq.s32 %p1, %r10, 0;\n"
    with pytest.raises(UnknownInstruction, match=instruction.split()[0].replace(".", r"\.")):
        run(first + instruction, [])


def test_registers_are_written_before_they_are_read():
    with pytest.raises(RuntimeError, match="%r11 is read before it is written"):
        run("add.s32 %r0, %r11, 1;", [])
