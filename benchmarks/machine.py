"""What a machine is, and the most that it computes: figures mean little without both."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np

__all__ = ["Peak", "described"]

SIDE = 2048
INNER, COLUMNS, OWN_ROWS, REPEATS = 128, 128, 30, 1500  # operands that stay in a core's nearest caches
SETTLE = 0.3  # seconds; OpenBLAS spins for longer than OpenMP


def described(threads: int, more: str = "") -> str:
    """A line: processor, instructions, threads, versions, date."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in info.split("\n\n")[0].split("\n") if ":" in line)
    fields = {k.strip(): v.strip() for k, v in fields.items()}
    name = fields.get("model name") or platform.processor() or platform.machine()
    flags = fields.get("flags", "").split()
    width = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else ""
    import numba

    parts = [
        f"{os.cpu_count()}-core {name}" + (f" with {width}" if width else ""), f"{threads} threads",
        f"Python {platform.python_version()}", f"numba {numba.__version__}", more, time.strftime("%Y-%m-%d"),
    ]  # fmt: skip
    return ", ".join(p for p in parts if p)


class Peak:
    """Floating-point operations a second, the larger of two: of our own register tile on operands that stay in the
    nearest cache, which has nothing to wait for, and of the faster library's product of large matrices.

    The library is asked once, the tile whenever `measure` is called, as a shared machine's peak moves: `value` is the
    median of what it was.
    """

    def __init__(self, threads: int, dtype: str = "float32"):
        self.tile = tile_product(threads, dtype)
        self.library = max((settled(f, 2 * SIDE**3, 5), name) for name, f in library_products(dtype).items())
        self.tiles: list[float] = []

    def measure(self) -> None:
        call, flops = self.tile
        self.tiles.append(settled(call, flops, 15))

    @property
    def value(self) -> float:
        return max(float(np.median(self.tiles)), self.library[0])

    def __str__(self) -> str:
        tiles = f"{np.median(self.tiles) / 1e9:.0f} ({min(self.tiles) / 1e9:.0f} to {max(self.tiles) / 1e9:.0f})"
        return f"peak in Gflop/s: own tile in cache {tiles}, {self.library[1]}'s product {self.library[0] / 1e9:.0f}"


def settled(call: Callable, flops: float, rounds: int) -> float:
    """Operations a second, by the shortest time, after a rest in which all threads fall asleep."""
    time.sleep(SETTLE)
    call()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return flops / min(taken)


def library_products(dtype: str) -> dict[str, Callable]:
    """A product of large matrices, by each library at hand."""
    a = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(dtype)
    found: dict[str, Callable] = {"NumPy": lambda: a @ a}
    try:
        import torch
    except ImportError:
        return found
    t = torch.from_numpy(a)
    return found | {"PyTorch": lambda: t @ t}


@lru_cache(maxsize=4)
def tile_product(threads: int, dtype: str) -> tuple[Callable, float]:
    """A product on the loops' own tile in so many threads, on a few rows again and again. And its operations."""
    work = [own_product(dtype) for _ in range(threads)]
    pool = ThreadPoolExecutor(max(threads - 1, 1))

    def call():
        others = [pool.submit(one) for one in work[1:]]
        work[0]()
        for other in others:
            other.result()

    return call, 2.0 * threads * REPEATS * OWN_ROWS * COLUMNS * INNER


def own_product(dtype: str) -> Callable[[], None]:
    """One thread's part: compiled code, without the interpreter's lock."""
    from rnncore.cpu.loop import native
    from rnncore.cpu.memory import address_of

    rows, packed = np.ones((OWN_ROWS, INNER), dtype), np.ones(INNER * COLUMNS, dtype)
    out, start = np.zeros((OWN_ROWS, COLUMNS), dtype), np.zeros(COLUMNS, dtype)
    index = np.tile(np.arange(OWN_ROWS), REPEATS)
    kept = (rows, index, packed, out, start)
    a, i, p, c, s = map(address_of, kept)
    gemm = native(dtype, "gemm")

    def call(kept=kept):
        gemm(a, rows.strides[0], i, 0, p, c, out.strides[0], i, 0, len(index), COLUMNS, INNER, 0, s)

    return call
