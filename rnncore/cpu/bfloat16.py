"""Weights stored as bfloat16, the upper half of a float32: half the bytes to read, for inference."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .library import products_text
from .loop import LoopWeights, Packing
from .machine import host
from .memory import take
from .store import exported, load_module

__all__ = ["NAME", "halved", "products", "rounded", "upper_halves"]

NAME = "bfloat16"
_FUNCTIONS = ("gemm", "block", "lookup")

_TAIL = """
write_addresses = addresses(gemm, block, lookup)


@cfunc("void(int64)", error_model="numpy", fastmath={"contract", "nsz"})
def functions(to):
    write_addresses(to)
"""


@lru_cache(maxsize=1)
def products() -> dict[str, int]:
    """Addresses of the functions that multiply float32 rows by such weights; compiled when they are first asked for."""
    module = load_module(products_text("float32", host(), NAME) + _TAIL)
    return dict(zip(_FUNCTIONS, exported(module, len(_FUNCTIONS))))


def upper_halves(numbers: np.ndarray) -> np.ndarray:
    """float32 numbers as bfloat16 in uint16, rounded to the nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    nearest = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(numbers), (bits >> 16) | 0x40, nearest).astype(np.uint16)


def rounded(numbers: np.ndarray) -> np.ndarray:
    """float32 numbers rounded to what bfloat16 can hold, as float32."""
    return (upper_halves(numbers).astype(np.uint32) << 16).view(np.float32)


def halved(packing: Packing, weights: LoopWeights) -> LoopWeights:
    """Packed weights with the matrices stored as bfloat16; `weights` are given back. Vectors and numbers stay."""
    starts = [*packing.places.items()]
    ends = [at for _, at in starts[1:]] + [packing.bytes]
    taken, places = 0, {}
    for (name, at), end in zip(starts, ends):
        places[name] = taken
        taken += -(-((end - at) // (2 if name.startswith("pack.") else 1)) // 64) * 64
    memory = take(taken)
    new, old = memory.array((taken,), np.uint8), weights.memory.array((packing.bytes,), np.uint8)
    for (name, at), end in zip(starts, ends):
        part = old[at:end]
        if name.startswith("pack."):
            part = upper_halves(part.view(np.float32)).view(np.uint8)
        new[places[name] : places[name] + len(part)] = part
    weights.release()
    return LoopWeights(memory, {name: memory.address + at for name, at in places.items()}, weights.constants)
