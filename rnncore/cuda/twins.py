"""What `rnncore.cuda.device` offers to the texts of kernels, as plain Python: the simulator runs the texts with these.

A thread of the simulated device is a generator, which hands over where it waits: `sync` and `arrive_and_wait` are
generators, and ``yield from`` is written before each of their calls (`rnncore.cuda.rewriting`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from .fast_twins import FAST
from .running import WARP, Lane, now
from .sum_twins import lane_term, lane_terms4, load, set_own_sums, set_sums, store, term, terms4
from .tile_twins import mma_bf16, mma_tf32, store2, store_bf16, store_tf32, words4

__all__ = [
    "WARP", "Entry", "anew", "arrive_and_wait", "block", "blocks", "entry", "float32", "float64", "function",
    "functions", "int32", "int64", "lane_term", "lane_terms4", "load", "mma_bf16", "mma_tf32", "portion", "quotient",
    "set_own_sums", "set_sums", "shared", "store", "store2", "store_bf16", "store_tf32", "sync", "term", "terms4",
    "thread", "threads", "uniform", "warp_max", "warp_sum", "words4",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A kernel: the function of a text that is launched, and the dtype of its arrays."""

    function: Callable[..., Any]
    dtype: str


def function(helper: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a function of a text that its kernel calls, or other functions of the text."""
    return helper


def entry(dtype: str) -> Callable[[Callable[..., Any]], Entry]:
    """Marks the function of a text that is launched: of (tape, weights, memory, numbers, counters, chunk)."""
    return lambda function: Entry(function, dtype)


float32, float64 = np.float32, np.float64


@dataclass(frozen=True)
class _Integer:
    """A type of integers. Its numbers are Python's: NumPy's would make float64 of float32."""

    name: str

    def __call__(self, value: Any) -> int:
        return int(value)


int32, int64 = _Integer("int32"), _Integer("int64")


def block() -> int:
    """The index of this thread's block."""
    return now.block


def blocks() -> int:
    """How many blocks run."""
    return now.blocks


def thread() -> int:
    """The index of this thread in its block."""
    return now.thread


def threads() -> int:
    """How many threads a block has."""
    return now.threads


def sync():
    """Waits for all threads of the block that have not ended."""
    yield None


def arrive_and_wait(counters, slot, target):
    """Waits until `target` blocks have arrived at ``counters[slot]``, and all threads of this block are here."""
    yield None
    if now.thread == 0:
        yield counters, slot, target
    yield None


def shared(dtype):
    """The block's dynamic shared memory, as a vector of `dtype`."""
    return now.shared(dtype)


def anew(value):
    """`value`; a device's compiler does not know that it is, and keeps nothing that is made of it from step to step."""
    return value


def quotient(a, b):
    """``a // b``, for ``0 <= a < 2**31`` and ``0 < b < 2**31``."""
    if not 0 <= a < 1 << 31 or not 0 < b < 1 << 31:
        raise OverflowError(f"a device divides no numbers but those of 31 bits, from 0 and from 1: {a} by {b}")
    return a // b


def uniform(value):
    """`value`, from 0 and less than ``2**31``, the same in all lanes of a warp: a device's assembler knows it then."""
    if not 0 <= value < 1 << 31:
        raise OverflowError(f"a warp tells its lanes no numbers but those of 31 bits, from 0: {value}")
    return value


def portion(k, n, parts):
    """``k * n // parts``: where the k-th of so many parts of n begins; n and ``parts**2`` are less than ``2**31``."""
    whole = quotient(n, parts)
    return k * whole + quotient(k * (n - whole * parts), parts)


def _butterfly(value, join):
    yield Lane(value)
    values, step = now.lanes, WARP // 2
    while step:
        values = [join(values[k], values[k ^ step]) for k in range(WARP)]
        step //= 2
    return values[now.thread % WARP]


def warp_sum(value):
    """The sum over the lanes of a warp, in every lane; all lanes call it together."""
    return (yield from _butterfly(value, operator.add))


def warp_max(value):
    """The largest of the lanes of a warp, NaN if one is, in every lane; all lanes call it together."""
    return (yield from _butterfly(value, _maximum))


def _of_reals(function: Callable[[float], float], dtype: type) -> Callable[[Any], Any]:
    """A function of Python's numbers on NumPy's: many times as fast as NumPy's own on single numbers."""
    return lambda a: dtype(function(float(a)))


def _exp(a: float) -> float:
    return math.inf if a > 709.782712893384 else math.exp(a)


def _log(a: float) -> float:
    return math.log(a) if a > 0 else (-math.inf if a == 0 else math.nan)


def _sqrt(a: float) -> float:
    return math.sqrt(a) if a >= 0 else math.nan


def _sin(a: float) -> float:
    return math.sin(a) if math.isfinite(a) else math.nan


def _cos(a: float) -> float:
    return math.cos(a) if math.isfinite(a) else math.nan


def _sigmoid(a: float) -> float:
    e = math.exp(-abs(a))
    return (e if a < 0 else 1.0) / (1.0 + e)


def _softplus(a: float) -> float:
    return (a if a > 0 else 0.0) + math.log1p(math.exp(-abs(a))) if a == a else a


def _relu(a):
    return a if a > 0 or a != a else type(a)(0)


def _maximum(a, b):
    return a if a >= b or a != a else b


def _minimum(a, b):
    return a if a <= b or a != a else b


def _where(condition, a, b):
    return a if condition else b


@lru_cache(maxsize=8)
def functions(dtype: str, fast: bool = False) -> SimpleNamespace:
    """The pointwise ops of the language on numbers of `dtype`, under the names that texts call them by.

    Parameters
    ----------
    dtype : str
        "float32" or "float64".
    fast : bool
        Of float32 numbers: exp, tanh, sigmoid and softplus by twins of the device's approximations.
    """
    kind = {"float32": np.float32, "float64": np.float64}[dtype]
    reals = {"exp": _exp, "log": _log, "sqrt": _sqrt, "sin": _sin, "cos": _cos, "tanh": math.tanh, "sigmoid": _sigmoid,
             "softplus": _softplus}  # fmt: skip
    made = {name: _of_reals(function, kind) for name, function in reals.items()}
    return SimpleNamespace(
        **made | (FAST if fast and dtype == "float32" else {}),
        add=operator.add, sub=operator.sub, mul=operator.mul, div=operator.truediv, neg=operator.neg, abs_=abs,
        relu=_relu, maximum=_maximum, minimum=_minimum, where=_where,
        lt=operator.lt, le=operator.le, gt=operator.gt, ge=operator.ge, eq=operator.eq, ne=operator.ne,
        and_=operator.and_, or_=operator.or_, not_=operator.not_,
    )  # fmt: skip
