"""How a launch is laid out: slices of the batch, blocks that share out the units of one, threads, what stays near.

The layout is the one that a small model of the time of a step finds the shortest; every figure of the model is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from .target import Properties
from .writer import Tiling, padded

__all__ = ["Geometry", "Shape", "chosen", "step_seconds"]

_THREADS = 256
_REGISTER_ROWS, _REGISTER_COLUMNS = 4, 4  # of a product that one thread sums
_TENSOR_ROWS, _TENSOR_COLUMNS = 16, 32  # of a product that a warp sums with tensor cores
_TENSOR_EIGHT = 8  # columns that one instruction of these has
_TENSOR_LEAST = 8  # rows of a slice, for these to be worth more than sums in registers
_TENSOR_LOADS = 2  # times that a warp reads its rows and columns at once: several of them begin at the same bank
_TENSOR_FMA = {"tf32": 512, "bf16": 1024}  # multiply-adds of a multiprocessor's tensor cores in a cycle
_CLOCK = 1.7e9  # Hz
_ISSUE = 1.6  # cycles of a multiprocessor for four multiply-adds of a warp's lanes, with all instructions around them
_WARP = 32
_CACHE = 39  # bytes that it reads in a cycle of the cache that all share, while all do
_BARRIER = 1.1e-6  # s for blocks to meet: an atomic add and a read that sees it, through the shared cache
_SYNC = 2.5e-8  # s for the threads of a block to meet
_PHASE = 4e-7  # s of a wave that no size changes: latencies of loads, transcendentals, stores
_LEAST = 2  # shares of the inner size have at least so many terms for each thread
_LANED = 8  # shares that threads would have to make of a sum of their own, for a warp to have it together


@dataclass(frozen=True)
class Shape:
    """What of a plan and a batch the layout depends on."""

    products: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]  # the sizes of operands, and those of slots
    waves: tuple[tuple[int, ...], ...]  # the products of each wave
    batch: int
    units: int  # the most that a size symbol of products has
    sums: int  # numbers each row that are summed over units
    item: int  # bytes of a number
    tensor: str = ""  # how tensor cores may round operands

    def columns(self, k: int, members: int) -> int:
        """The most columns of a product that one of so many blocks has."""
        return sum(-(-n // members) for n in self.products[k][1])


@dataclass(frozen=True)
class Geometry:
    """A launch: see `rnncore.cuda.emit`; ``splits`` are the shares of each product's inner size."""

    slices: int
    members: int
    threads: int
    tile: int
    room: int
    splits: tuple[int, ...]
    tiling: Tiling
    shared_bytes: int

    @property
    def blocks(self) -> int:
        return self.slices * self.members


@lru_cache(maxsize=1024)
def chosen(shape: Shape, device: Properties) -> Geometry:
    """The layout with the shortest step: on tensor cores, or not, where they may be used."""
    kinds = dict.fromkeys((shape.tensor, ""))
    every = (g for kind in kinds for g in _candidates(replace(shape, tensor=kind), device))
    return min(every, key=lambda g: (step_seconds(shape, g), g.blocks))


def _candidates(shape: Shape, device: Properties):
    every, most = device.multiprocessors, max(shape.units, 1)
    halves = [every >> k for k in range(every.bit_length())]
    for slices in sorted({n for k in halves for n in (k, 1 << k.bit_length() - 1) if n <= max(shape.batch, 1)}):
        few = min(every // slices, most)
        for members in sorted({1, few, 1 << few.bit_length() - 1}):
            found = laid_out(shape, device, slices, members)
            if found is not None:
                yield found


def laid_out(shape: Shape, device: Properties, slices: int, members: int) -> Geometry | None:
    """The launch of so many slices and members; None where shared memory is too small for any tile."""
    room = -(-shape.batch // slices)
    threads = min(_THREADS, device.threads)
    columns = [padded(shape.columns(k, members)) for k in range(len(shape.products))]
    wide = _REGISTER_COLUMNS if max(columns, default=1) >= 2 * _REGISTER_COLUMNS else 1
    tensor = shape.tensor if room >= _TENSOR_LEAST and threads >= device.warp else ""
    tile = room
    while tile:
        high = _REGISTER_ROWS if tile >= _REGISTER_ROWS else 1
        high, wide = (_TENSOR_ROWS, _TENSOR_COLUMNS) if tensor else (high, wide)
        sums = [-(-tile // high) * -(-c // wide) for c in columns]
        laned = tuple(bool(tensor) or _LANED * n <= threads for n in sums)
        inner = [sum(operands) for operands, _ in shape.products]
        splits = tuple(_split(k, n, threads, d, device.warp) for k, n, d in zip(inner, sums, laned))
        apart = [len(operands) if tensor else 1 for operands, _ in shape.products]
        wave = [sum(apart[k] * splits[k] * tile * columns[k] for k in w) for w in shape.waves]
        left = device.shared_bytes - (shape.sums * room + max(wave, default=0)) * shape.item
        if left >= 0:
            break
        tile //= 2
    if not tile:
        return None
    resident = []
    for (operands, _), c, d in zip(shape.products, columns, laned):
        size = sum(map(padded, operands) if d else operands) * c * shape.item
        resident.append(size <= left)
        left -= size if resident[-1] else 0
    tiling = Tiling(high, wide, tuple(resident), laned, tensor)
    return Geometry(slices, members, threads, tile, room, splits, tiling, device.shared_bytes - left)


def _split(inner: int, sums: int, threads: int, laned: bool, warp: int) -> int:
    """Shares of the inner size: as many as keep all threads busy."""
    lanes = warp if laned else 1
    return max(1, min(threads // lanes // max(sums, 1), inner // (_LEAST * lanes)))


def step_seconds(shape: Shape, g: Geometry) -> float:
    """The model's time of one step."""
    seconds = 0.0
    for wave in shape.waves:
        cycles = sum(_cycles(shape, g, k) for k in wave)
        seconds += cycles / _CLOCK + _PHASE + (2 * _SYNC if g.members == 1 else _BARRIER + 2 * _SYNC)
    return seconds


def _cycles(shape: Shape, g: Geometry, k: int) -> float:
    """Cycles of a product: of instructions, of loads by the nearest cache or shared memory, or of the shared cache.

    A warp's lanes sum side by side: over the inner size, each four numbers of every row and column at a time
    (``laned``), or each its own rows and columns; these read few columns and many rows, or the other way round.
    """
    inner, columns = sum(shape.products[k][0]), shape.columns(k, g.members)
    high, wide, tiles = g.tiling.rows, g.tiling.columns, -(-g.room // g.tile)
    groups, tops = -(-columns // wide), -(-g.tile // high)
    warps = groups * tops * inner / 128  # that sum four numbers each lane
    issue = warps * high * wide * _ISSUE
    if g.tiling.tensor:
        issue = g.tile * columns * inner / _TENSOR_FMA[g.tiling.tensor]
        wide = min(wide, -(-columns // _TENSOR_EIGHT) * _TENSOR_EIGHT)  # what is read of a tile
    if g.tiling.laned[k]:
        loads = warps * 4 * (high + wide) * (_TENSOR_LOADS if g.tiling.tensor else 1)
    else:
        loads = warps * (4 * max(1.0, min(groups, 32) / 8) + high * max(1.0, 32 / groups))
    together = max(1, g.threads // _WARP // (groups * g.splits[k])) if g.tiling.laned[k] else tops  # that read the same
    streamed = 0 if g.tiling.resident[k] else inner * columns * -(-tops // together)
    far = (streamed + g.tile * inner) * shape.item / _CACHE
    return tiles * max(issue * shape.item / 4, loads * shape.item / 4, far)
