"""What the texts of kernels import: a device's own instructions as functions, and the ops of the language.

The simulator runs the same texts with `rnncore.cuda.twins`: it has the same names, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from . import intrinsics
from .fragments import mma_bf16, mma_tf32, store2, store_bf16, store_tf32, words4
from .intrinsics import across, anew, load, quotient, store, uniform
from .sums import lane_term, lane_terms4, own_sum, set_own_sums, term, terms4
from .target import compiler

__all__ = [
    "WARP", "Entry", "anew", "arrive_and_wait", "block", "blocks", "entry", "float32", "float64", "function",
    "functions", "int32", "int64", "lane_term", "lane_terms4", "load", "mma_bf16", "mma_tf32", "portion", "quotient",
    "set_own_sums", "set_sums", "shared", "store", "store2", "store_bf16", "store_tf32", "sync", "term", "terms4",
    "thread", "threads", "uniform", "warp_max", "warp_sum", "words4",
]  # fmt: skip

cuda = compiler()
float32, float64, int32, int64 = cuda.types.float32, cuda.types.float64, cuda.types.int32, cuda.types.int64


@dataclass(frozen=True)
class Entry:
    """A kernel: the function of a text that is launched, and the dtype of its arrays."""

    function: Callable[..., Any]
    dtype: str


def entry(dtype: str) -> Callable[[Callable[..., Any]], Entry]:
    """Marks the function of a text that is launched: of (tape, weights, memory, numbers, counters, chunk)."""
    return lambda kernel: Entry(kernel, dtype)


def function(helper: Callable[..., Any]) -> Any:
    """Marks a function of a text that its kernel calls, or other functions of the text."""
    return cuda.jit(device=True)(helper)


@function
def block():
    """The index of this thread's block."""
    return int64(cuda.blockIdx.x)


@function
def blocks():
    """How many blocks run."""
    return int64(cuda.gridDim.x)


@function
def thread():
    """The index of this thread in its block."""
    return int64(cuda.threadIdx.x)


@function
def threads():
    """How many threads a block has."""
    return int64(cuda.blockDim.x)


@function
def portion(k, n, parts):
    """``k * n // parts``: where the k-th of so many parts of n begins; n and ``parts**2`` are less than ``2**31``."""
    whole = quotient(n, parts)
    return k * whole + quotient(k * (n - whole * parts), parts)


@function
def sync():
    """Waits for all threads of the block that have not ended."""
    cuda.syncthreads()


arrive, arrived = intrinsics.arrive, intrinsics.arrived


@function
def arrive_and_wait(counters, slot, target):
    """Waits until `target` blocks have arrived at ``counters[slot]``, and all threads of this block are here.

    What the block's threads wrote before is seen by all threads of the blocks that have waited: the first barrier
    orders it before thread 0's release, and the second one the others' reads after its acquire (PTX ISA, memory
    consistency model, causality order). The launch has to be cooperative: all its blocks run at once.
    """
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        arrive(counters, slot)
        while arrived(counters, slot) < target:
            pass
    cuda.syncthreads()


WARP = 32  # threads that run in step


@function
def warp_sum(value):
    """The sum over the lanes of a warp, the same bits in every lane; all lanes call it together."""
    value += across(value, 16)
    value += across(value, 8)
    value += across(value, 4)
    value += across(value, 2)
    return value + across(value, 1)


@function
def larger(a, b):
    return a if a >= b or a != a else b


@function
def warp_max(value):
    """The largest of the lanes of a warp, NaN if one is, in every lane; all lanes call it together."""
    value = larger(value, across(value, 16))
    value = larger(value, across(value, 8))
    value = larger(value, across(value, 4))
    value = larger(value, across(value, 2))
    return larger(value, across(value, 1))


@function
def set_sums(lane, out, at, pitch, top, tops, many, acc):
    """Sets ``out[at + i * pitch + j]`` to the sum over a warp of what each lane has as ``acc[i][j]``.

    Row i is left as it is where ``top + i * tops`` is not less than `many`. There are 1, 2, 4, 8, 16 or 32 sums; all
    lanes of a warp call it together.
    """
    total, wide = own_sum(lane, acc), len(acc[0])
    each = WARP // (len(acc) * wide)
    which = lane // each
    row = which // wide
    if lane % each == 0 and top + row * tops < many:
        store(out, at + row * pitch + which % wide, total)


@cuda.jit(device=True, inline="always")
def shared(dtype):
    """The block's dynamic shared memory, as a vector of `dtype`."""
    return cuda.shared.array(0, dtype, alignment=16)


@lru_cache(maxsize=8)
def functions(dtype: str, fast: bool = False) -> SimpleNamespace:
    """The pointwise ops of the language on numbers of `dtype`, under the names that texts call them by.

    Parameters
    ----------
    dtype : str
        "float32" or "float64". A number of another type is an error when a text is compiled.
    fast : bool
        Of float32 numbers: exp, tanh, sigmoid and softplus by the device's approximations.
    """
    return SimpleNamespace(**intrinsics.pointwise(dtype, fast))
