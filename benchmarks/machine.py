"""What a machine is, and the most that it computes: figures mean little without both."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

__all__ = ["Peak", "described"]

SIDE = 2048
INNER, COLUMNS, OWN_ROWS, REPEATS = 128, 128, 30, 400  # operands of a task that stay in a core's nearest caches
SETTLE = 0.3  # seconds; OpenBLAS spins for longer than OpenMP
SLICES = 8  # tasks for each thread


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
    """A product on the loops' own tile: each task takes its few rows again and again. And its operations."""
    from rnncore.cpu.loop import functions
    from rnncore.cpu.memory import address_of
    from rnncore.cpu.pool import run_team

    tasks = SLICES * threads
    rows = np.ones((tasks * OWN_ROWS, INNER), dtype)
    out, packed = np.zeros((len(rows), COLUMNS), dtype), np.ones(INNER * COLUMNS, dtype)
    start, turn, code = np.zeros(COLUMNS, dtype), np.zeros(2, np.int64), functions(dtype)
    own = np.arange(len(rows)).reshape(tasks, 1, OWN_ROWS)
    index = np.ascontiguousarray(np.broadcast_to(own, (tasks, REPEATS // SLICES, OWN_ROWS)).reshape(-1), np.int64)
    kept = (rows, index, packed, out, start, turn)
    a, i, p, c, s, t = map(address_of, kept)
    ends = (t, tasks, code["gemm"], code["wait"])
    job = np.array([a, rows.strides[0], i, p, c, out.strides[0], s, len(index), COLUMNS, INNER, *ends], np.int64)

    def call(kept=kept):
        turn[:] = 0
        run_team(code["team"], address_of(job), threads)

    return call, 2.0 * len(index) * INNER * COLUMNS
