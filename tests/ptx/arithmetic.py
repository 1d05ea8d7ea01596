"""What PTX's instructions on numbers compute: by the form of an instruction, a function of its operands."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from . import floats
from .operands import TYPES

__all__ = ["Function", "found"]

Function = tuple[Callable[..., Any], list[str]]  # and the types that it reads its operands as
_COMPARED = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
             "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater,
             "hs": np.greater_equal}  # fmt: skip
_ROUNDED = {"rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}
_WIDE = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}
_rules: list[tuple[re.Pattern[str], Callable[..., Function]]] = []


def found(op: str) -> Function | None:
    """The function of an instruction, as ``add.s64``; None if none is known."""
    for pattern, rule in _rules:
        if match := pattern.fullmatch(op):
            return rule(*match.groups())
    return None


def _rule(pattern: str) -> Callable[[Callable[..., Function]], Callable[..., Function]]:
    def keep(rule):
        _rules.append((re.compile(pattern), rule))
        return rule

    return keep


# integers and bits
@_rule(r"(add|sub)\.([us]\d+)")
def _sum(name, kind):
    return {"add": operator.add, "sub": operator.sub}[name], [kind] * 2


@_rule(r"(min|max)\.([us]\d+)")
def _least(name, kind):
    return {"min": np.minimum, "max": np.maximum}[name], [kind] * 2


@_rule(r"(div|rem)\.([us]\d+)")
def _divided(name, kind):
    def of(a, b):
        """Towards 0; by 0 it is all ones, which no kernel may rely on."""
        none = b == 0
        a, b = np.broadcast_arrays(a, np.where(none, 1, b))
        quotient = a // b
        quotient = quotient + ((a % b != 0) & ((a < 0) != (b < 0))).astype(a.dtype)
        return np.where(none, ~np.zeros_like(a), quotient if name == "div" else a - quotient * b)

    return of, [kind] * 2


@_rule(r"(mul|mad)\.(lo|hi|wide)\.([us]\d+)")
def _product(name, part, kind):
    def product(a, b):
        if part == "lo":
            return a * b
        if part == "wide":
            wide = TYPES[_WIDE[kind]]
            return a.astype(wide) * b.astype(wide)
        if kind in _WIDE:
            wide = TYPES[_WIDE[kind]]
            return (a.astype(wide) * b.astype(wide) >> wide.type(8 * TYPES[kind].itemsize)).astype(TYPES[kind])
        exact = np.asarray(a).astype(object) * np.asarray(b).astype(object) >> 64
        return exact.astype(TYPES[kind])

    if name == "mul":
        return product, [kind] * 2
    return lambda a, b, c: product(a, b) + c, [kind, kind, _WIDE[kind] if part == "wide" else kind]


@_rule(r"(and|or|xor)\.(b\d+|pred)")
def _joined(name, kind):
    return {"and": operator.and_, "or": operator.or_, "xor": operator.xor}[name], [kind] * 2


@_rule(r"not\.(b\d+|pred)")
def _inverted(kind):
    return operator.invert, [kind]


@_rule(r"(neg|abs)\.(s\d+)")
def _turned(name, kind):
    return {"neg": operator.neg, "abs": np.abs}[name], [kind]


@_rule(r"(shl|shr)\.([bus])(\d+)")
def _shifted(name, sign, bits):
    """More places than there are bits are as many as there are."""
    kind, many = f"{sign}{bits}", int(bits)
    one = TYPES[kind].type

    def of(a, by):
        by = np.minimum(by, many)
        beyond = by == many
        places = np.where(beyond, many - 1, by).astype(one)
        moved = a << places if name == "shl" else a >> places
        return np.where(beyond, moved << one(1) if name == "shl" else moved >> one(1), moved)

    return of, [kind, "u32"]


@_rule(r"bfi\.b(32|64)")
def _inserted(bits):
    one = TYPES[f"b{bits}"].type

    def of(a, b, first, many):
        first, many = np.minimum(first & 255, int(bits)), np.minimum(many & 255, int(bits))
        mask = _ones(one, many)
        mask, a = (np.where(first < int(bits), x << (first % int(bits)).astype(one), 0) for x in (mask, a))
        return (a & mask | b & ~mask).astype(one)

    return of, [f"b{bits}", f"b{bits}", "u32", "u32"]


def _ones(one, many):
    """Numbers of which so many of the lowest bits are 1."""
    every, bits = ~one(0), 8 * np.dtype(one).itemsize
    return np.where(many < bits, ~(every << (many % bits).astype(one)), every)


# floating point
@_rule(r"(add|sub|mul|div)(?:\.rn)?\.(f32|f64)")
def _rounded(name, kind):
    return {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[name], [kind] * 2


@_rule(r"fma\.rn\.(f32|f64)")
def _fused(kind):
    return {"f32": floats.fma32, "f64": floats.fma64}[kind], [kind] * 3


@_rule(r"(sqrt|rcp)\.rn\.(f32|f64)")
def _root(name, kind):
    return {"sqrt": np.sqrt, "rcp": lambda a: TYPES[kind].type(1) / a}[name], [kind]


@_rule(r"(neg|abs)\.(f32|f64)")
def _sign(name, kind):
    bits = TYPES[kind.replace("f", "b")].type
    top = bits(1) << bits(8 * TYPES[kind].itemsize - 1)
    return {"neg": lambda a: a ^ top, "abs": lambda a: a & ~top}[name], [kind.replace("f", "b")]


@_rule(r"(min|max)\.(f32|f64)")
def _chosen(name, kind):
    return {"min": floats.smaller, "max": floats.larger}[name], [kind] * 2


@_rule(r"(ex2\.approx\.ftz|lg2\.approx|tanh\.approx)\.f32")
def _near(name):
    return {"ex2": floats.ex2, "lg2": floats.lg2, "tanh": floats.tanh}[name.partition(".")[0]], ["f32"]


# conditions
@_rule(r"setp\.([a-z]+)\.([busf]\d+)")
def _compared(name, kind):
    if kind[0] != "f":
        return _COMPARED[name], [kind] * 2
    if name in ("num", "nan"):
        return lambda a, b: (np.isnan(a) | np.isnan(b)) == (name == "nan"), [kind] * 2
    unordered = name.endswith("u") and name != "u"
    compare = _COMPARED[name.removesuffix("u")]

    def of(a, b):
        none = np.isnan(a) | np.isnan(b)
        return compare(a, b) | none if unordered else compare(a, b) & ~none

    return of, [kind] * 2


@_rule(r"selp\.([busf]\d+)")
def _selected(kind):
    return lambda a, b, p: np.where(p, a, b), [kind, kind, "pred"]


# from one type to another
@_rule(r"cvt\.([us]\d+)\.([us]\d+)")
def _resized(to, kind):
    return lambda a: a.astype(TYPES[to]), [kind]


@_rule(r"cvt\.(rzi|rni|rmi|rpi)\.([us]\d+)\.(f32|f64)")
def _whole(how, to, kind):
    return lambda a: floats.to_integer(a, TYPES[to], _ROUNDED[how]), [kind]


@_rule(r"cvt(?:\.rn)?\.(f32|f64)\.([us]\d+|f32|f64)")
def _as_float(to, kind):
    return lambda a: a.astype(TYPES[to]), [kind]


@_rule(r"cvt\.rna\.tf32\.f32")
def _tf32():
    return floats.tf32, ["f32"]


@_rule(r"cvt\.rn\.bf16x2\.f32")
def _bf16():
    return lambda a, b: floats.bf16(a) << np.uint32(16) | floats.bf16(b), ["f32", "f32"]


@_rule(r"cvt\.rn\.bf16\.f32")
def _bf16_alone():
    return lambda a: floats.bf16(a).astype(np.uint16), ["f32"]


@_rule(r"bfi\.b(32|64)")
def _inserted(bits):
    """The lowest bits of `a` in the place of those of `b`."""
    one = TYPES[f"b{bits}"].type

    def of(a, b, at, many):
        mask = (one(1) << many.astype(one)) - one(1) << at.astype(one)
        return b & ~mask | a << at.astype(one) & mask

    return of, [f"b{bits}"] * 2 + ["u32"] * 2


@_rule(r"cvta(?:\.to)?\.global\.u64")
def _address():
    return lambda a: a, ["u64"]
