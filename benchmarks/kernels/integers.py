"""What PTX's instructions on integers and conditions compute, for all threads at once."""

from __future__ import annotations

import numpy as np

__all__ = ["OPS"]


def _divided(op, a, b):
    b = np.where(b == 0, 1, b)
    return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))


def _product(op, a, b):
    """A product, or what of it is above the bits of a register."""
    return _high(op[2], a, b) if op[1] == "hi" else a * b


def _high(kind: str, a, b):
    bits = int(kind[1:])

    def one(x, y):
        high = int(x) * int(y) >> bits if kind[0] == "s" else int(x) % (1 << bits) * (int(y) % (1 << bits)) >> bits
        return high - (1 << 64 if high >> 63 > 0 else 0)  # as registers of 64 bits are kept: with a sign

    return np.asarray(np.frompyfunc(one, 2, 1)(a, b), dtype=np.int64)


def _converted(op, a):
    if op[1] == "u32" or op[2] == "u32":
        return a & 0xFFFFFFFF
    return a


def _inserted(op, a, b, at, many):
    """The lowest bits of `a` in the place of those of `b`."""
    mask = (np.int64(1) << many) - 1 << at
    return b & ~mask | a << at & mask


def _extracted(op, a, at, many):
    return a >> at & (np.int64(1) << many) - 1


_COMPARED = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "lo": np.less, "hi": np.greater, "ls": np.less_equal, "hs": np.greater_equal,
}  # fmt: skip
OPS = {
    "mov": lambda op, a: a, "cvta": lambda op, a: a, "cvt": _converted,
    "add": lambda op, a, b: a + b, "sub": lambda op, a, b: a - b, "neg": lambda op, a: -a,
    "mul": _product, "mad": lambda op, a, b, c: _product(op, a, b) + c, "abs": lambda op, a: np.abs(a),
    "min": lambda op, a, b: np.minimum(a, b), "max": lambda op, a, b: np.maximum(a, b),
    "div": _divided, "rem": lambda op, a, b: a - b * _divided(op, a, b),
    "and": lambda op, a, b: a & b, "or": lambda op, a, b: a | b, "xor": lambda op, a, b: a ^ b,
    "not": lambda op, a: ~a, "shl": lambda op, a, b: a << b,
    "shr": lambda op, a, b: a >> b if op[1][0] == "s" else (a.view(np.uint64) >> b.astype(np.uint64)).astype(np.int64),
    "selp": lambda op, a, b, p: np.where(p, a, b),
    "setp": lambda op, a, b: _COMPARED[op[1]](a, b),
    "bfi": _inserted, "bfe": _extracted,
    "shfl": lambda op, a, *rest: a, "activemask": lambda op, *rest: np.int64(0),
}  # fmt: skip
