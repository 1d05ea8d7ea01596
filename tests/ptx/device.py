"""A device that runs the PTX of kernels: whatever the engine launches within goes to `Grid`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.kernels.ptx import Program, parsed
from rnncore import layout
from rnncore.cuda import launch as launching
from rnncore.cuda import target
from rnncore.cuda.accesses import ran
from rnncore.cuda.geometry import laid_out
from rnncore.cuda.loaded import _words, code_of

from .grid import Grid
from .memory import Global

__all__ = ["SMALL", "Seen", "interpreted", "launched"]

SMALL = target.Properties("interpreter", (9, 0), 3, 65536, 64, 1 << 30)
_ADDRESS = 4  # among the words that an array is passed as


@lru_cache(maxsize=64)
def program(text: str, capability: tuple[int, int]) -> Program:
    """Of a kernel's text."""
    return parsed(code_of(text, capability).ptx)


def launched(
    program: Program, blocks: int, threads: int, shared_bytes: int, arrays: Sequence[Any], cooperative: bool = False,
    watch: bool = True,
) -> Grid:  # fmt: skip
    """Run a kernel of (tape, weights, memory, numbers, counters, chunk) on arrays of the host, or of its stand-in."""
    *passed, chunk = arrays
    hosts = [getattr(array, "host", array) for array in passed]
    memory, words = Global(hosts), []
    for array, address in zip(passed, memory.addresses):
        one = list(_words(array if hasattr(array, "host") else _described(array)))
        one[_ADDRESS] = address
        words += one
    grid = Grid(program, blocks, threads, shared_bytes, memory, [*words, chunk], cooperative, watch)
    grid.run()
    memory.back()
    return grid


def _described(array: np.ndarray) -> Any:
    return SimpleNamespace(__cuda_array_interface__=array.__array_interface__)


@dataclass(frozen=True)
class Seen:
    """A launch that was run: the kernel's text, its grid, and whether its blocks could wait for one another."""

    text: str
    blocks: int
    cooperative: bool


@contextmanager
def interpreted(
    device: target.Properties = SMALL, grid: tuple[int, int] | None = None, watch: bool = True, high: int = 4,
    laned: bool = False,
) -> Iterator[list[Seen]]:  # fmt: skip
    """Launches within run on their PTX; gives a list of them.

    Parameters
    ----------
    device : Properties
        What the engine is told of the device.
    grid : (int, int), optional
        Slices of the batch, and blocks that share out the units of one: by default as the engine chooses.
    watch : bool
        Whether races are looked for.
    high : int
        Rows that are summed at once in a given grid, at most.
    laned : bool
        Whether warps have sums together there, rather than threads their own.
    """
    seen: list[Seen] = []

    def load(text: str) -> Any:
        def launch(blocks, threads, shared_bytes, arrays, cooperative, stream=None) -> None:
            if threads > device.threads or shared_bytes > device.shared_bytes:
                raise RuntimeError(f"{threads} threads and {shared_bytes} bytes are not there on {device}")
            if cooperative and blocks > device.multiprocessors:
                raise RuntimeError(f"{blocks} blocks wait for one another on {device}")
            tape, weights, memory, numbers, counters = (array.host for array in arrays[:-1])
            ran([weights, numbers], [tape, memory, counters])
            seen.append(Seen(text, blocks, cooperative))
            launched(program(text, device.capability), blocks, threads, shared_bytes, arrays, cooperative, watch)

        return SimpleNamespace(launch=launch)

    def chosen(shape: Any, here: target.Properties) -> Any:
        assert grid is not None
        given = min(grid[0], shape.batch), min(grid[1], shape.units), high, (laned,) * len(shape.products)
        found = laid_out(shape, here, *given)
        assert found is not None, "shared memory is too small"
        return found

    before = target.properties, target.load, launching.chosen
    layout._full_layout.cache_clear()  # what is kept with layouts is of one device
    try:
        target.properties, target.load = lambda: device, load
        launching.chosen = chosen if grid else launching.chosen
        yield seen
    finally:
        target.properties, target.load, launching.chosen = before
        layout._full_layout.cache_clear()
