"""Layouts of launches whose products are on tensor cores: tiles of a warp, and the model of their time.

Every figure of the model is named; those of `rnncore.cuda.timing` hold too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from .copies import COLUMN, WORDS, eights_of, in_blocks, pitch
from .shapes import THREADS, Geometry, Shape
from .target import Properties
from .timing import CACHE, MEET, SCHEDULERS, SYNC, WARP, Used, partial_sums, phase, together
from .writer import Tiling, padded

__all__ = ["tensor_cycles", "tensor_layouts"]

_ROWS = (16, 32)  # of a warp's tile
_EIGHTS = (4, 8)  # columns of a warp's tile, at most
_FEW = 3  # where several products share a kernel's registers
_PRODUCT = 1.6  # cycles of a multiprocessor for one product of 16 x 8 sums
_TURN = 70  # cycles of a warp for a block of k that it is alone with
_ENDS = 500  # until it has its first rows, and until its sums are there when it has had the last
_BYTES = 4  # of a word


def _blocks(shape: Shape, k: int) -> int:
    """Blocks of k of a product."""
    return sum(in_blocks(n, shape.tensor) for n in shape.products[k][0])


def tensor_layouts(shape: Shape, device: Properties, slices: int, members: int) -> Iterator[Geometry]:
    """Launches of so many slices and members."""
    room = -(-shape.batch // slices)
    every = [eights_of(padded(shape.columns(k, members)), 1) for k in range(len(shape.products))]
    alone = len(every) == 1
    for rows in _ROWS[: None if alone and room > _ROWS[0] else 1]:
        for most in _EIGHTS[: None if every[0] > _EIGHTS[0] else 1] if alone else (_FEW,):
            eights = tuple(-(-n // -(-n // most)) for n in every)
            for tile in _tiles(room):
                found = _laid_out(shape, device, slices, members, rows, eights, tile)
                if found is not None:
                    yield found


def _tiles(room: int) -> Iterator[int]:
    """Rows that are summed at a time: all, or some sixteens."""
    yield room
    while room > 16:
        room = -(-room // 32) * 16
        yield room


def _laid_out(
    shape: Shape, device: Properties, slices: int, members: int, rows: int, eights: tuple[int, ...], tile: int
) -> Geometry | None:
    """The launch; None where shared memory is too small for its sums."""
    threads, room = min(THREADS, device.threads), -(-shape.batch // slices)
    warps, every = threads // device.warp, range(len(shape.products))
    columns = [eights_of(padded(shape.columns(k, members)), eights[k]) for k in every]
    splits = tuple(_split(_blocks(shape, k), columns[k], rows, eights[k], tile, warps) for k in every)
    wave = [sum(splits[k] * tile * pitch(columns[k]) for k in w) for w in shape.waves]
    left = device.shared_bytes - (shape.sums * room + max(wave, default=0)) * _BYTES
    if left < 0:
        return None
    resident = []
    for k in every:
        size = columns[k] * _blocks(shape, k) * COLUMN * _BYTES
        resident.append(size <= left)
        left -= size if resident[-1] else 0
    if (rows > _ROWS[0] or max(eights, default=0) > _EIGHTS[0]) and not all(resident):
        return None  # addresses of weights that are far take the registers
    tiling = Tiling(rows, 8 * max(eights, default=1), tuple(resident), (True,) * len(every), shape.tensor, eights)
    return Geometry(slices, members, threads, tile, room, splits, (0,) * len(every), tiling, device.shared_bytes - left)


@lru_cache(maxsize=4096)
def _split(blocks: int, columns: int, rows: int, eights: int, tile: int, warps: int) -> int:
    """Shares of the inner size."""
    splits = sorted({1, *(n for n in (2, 3, 4, 6, 8, warps) if n <= min(blocks, warps))})

    def cycles(split: int) -> float:
        sums = partial_sums(8 * columns * tile, split, warps * WARP, 1.0)
        return together([_multiplied(blocks, columns, rows, eights, tile, warps, split), sums])

    return min(splits, key=cycles)


def _multiplied(blocks: int, columns: int, rows: int, eights: int, tile: int, warps: int, split: int) -> Used:
    """The sums of a tile of rows, of columns in eights."""
    items, turns = columns // eights * -(-tile // rows) * split, -(-blocks // split)
    products, rounds = rows // 16 * eights * 2, -(-items // warps)
    many = rounds * warps * turns  # blocks of k that warps have, or wait for others that do
    issue = items * (turns * (2 * products + eights + rows // 8 + 4) + 150) / SCHEDULERS
    loads = many * (rows / 2 + 4 * eights) + items * rows * eights / 2
    return Used(max(issue, many * products * _PRODUCT), loads, 0.0, rounds * (turns * _TURN + _ENDS))


def tensor_cycles(shape: Shape, g: Geometry) -> float:
    """Cycles of a step: products, then what is done with their sums."""
    cycles, tiles, units = 0.0, -(-g.room // g.tile), -(-shape.units // g.members)
    for wave in shape.waves:
        sums = [partial_sums(g.tile * shape.columns(k, g.members), g.splits[k], g.threads, 1.0) for k in wave]
        parts = together([_product(shape, g, k) for k in wave]) if wave else 0.0
        parts += together([phase(g.tile * units, g.threads), *sums])
        cycles += tiles * parts + (MEET if g.members > 1 and wave else 2 * SYNC)
    return cycles


def _product(shape: Shape, g: Geometry, k: int) -> Used:
    """What a product of a step uses."""
    tiling, blocks, warps = g.tiling, _blocks(shape, k), max(1, g.threads // WARP)
    eights, tops = tiling.eights[k], -(-g.tile // tiling.rows)
    columns = eights_of(padded(shape.columns(k, g.members)), eights)
    alike = max(1, warps // (columns // eights * g.splits[k]))  # warps that read the same weights
    streamed = 0 if tiling.resident[k] else columns * COLUMN * -(-tops // alike)
    used = _multiplied(blocks, columns, tiling.rows, eights, g.tile, warps, g.splits[k])
    return replace(used, far=(g.tile * WORDS + streamed) * blocks * _BYTES / CACHE)
