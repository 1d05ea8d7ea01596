"""How a launch is laid out: slices of the batch, blocks that share out the units of one, threads, what stays near.

The layout is the one that a small model of the time of a step finds the shortest; every figure of the model is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product

from . import timing
from .shapes import THREADS, Geometry, Shape
from .target import Properties
from .tensor_geometry import tensor_cycles, tensor_layouts
from .writer import Tiling, padded

__all__ = ["Geometry", "Shape", "chosen", "step_seconds"]

_REGISTER_ROWS, _REGISTER_COLUMNS = (1, 2, 4, 8), 4  # of a product that a thread sums, or a warp together
_TENSOR_LEAST = 8  # rows of a slice, for these to be worth more than sums in registers
_EACH = 2  # products of a step, for each to be laid out by itself
_LEAST = 2  # shares of the inner size have at least so many terms for each thread


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
            for high, laned in _tiles(shape, -(-shape.batch // slices)):
                found = laid_out(shape, device, slices, members, high, laned)
                if found is not None:
                    yield found


def _tiles(shape: Shape, room: int) -> Iterator[tuple[int, tuple[bool, ...]]]:
    """Rows that are summed at once, at most, and by whom each product is: see `laid_out`."""
    many = len(shape.products)
    if shape.tensor and room >= _TENSOR_LEAST:
        yield 0, (True,) * many
        return
    kinds = (True, False)
    each = list(product(kinds, repeat=many)) if many <= _EACH else [(kind,) * many for kind in kinds]
    for high in [n for n in _REGISTER_ROWS if n <= room][-2:]:
        yield from ((high, laned) for laned in each)


def laid_out(
    shape: Shape, device: Properties, slices: int, members: int, high: int = 4, laned: tuple[bool, ...] = ()
) -> Geometry | None:
    """The launch of so many slices and members; None where shared memory is too small for any tile.

    Up to `high` rows of a product are summed at once, by a thread, or by the lanes of a warp for those that are
    `laned`; by tensor cores as is best.
    """
    room = -(-shape.batch // slices)
    threads = min(THREADS, device.threads)
    if shape.tensor and room >= _TENSOR_LEAST and threads >= device.warp:
        found = tensor_layouts(shape, device, slices, members)
        return min(found, key=lambda g: step_seconds(shape, g), default=None)
    columns = [padded(shape.columns(k, members)) for k in range(len(shape.products))]
    wide = _REGISTER_COLUMNS if max(columns, default=1) >= 2 * _REGISTER_COLUMNS else 1
    laned = laned if laned and threads >= device.warp else (False,) * len(columns)
    tile = room
    while tile:
        high = min(high, 1 << tile.bit_length() - 1)
        sums = [-(-tile // high) * -(-c // wide) for c in columns]
        inner = [sum(operands) for operands, _ in shape.products]
        splits = tuple(_split(k, n, threads, d, device.warp) for k, n, d in zip(inner, sums, laned))
        wave = [sum(splits[k] * tile * columns[k] for k in w) for w in shape.waves]
        left = device.shared_bytes - (shape.sums * room + max(wave, default=0)) * shape.item
        if left >= 0:
            break
        tile //= 2
    if not tile:
        return None
    near = []
    for (operands, _), c, d in zip(shape.products, columns, laned):
        room_for = left // (c * shape.item)
        near.append(_near(operands, room_for, 4 * device.warp if d else 4, d))
        left -= near[-1] * c * shape.item
    resident = tuple(n == _terms(operands, d) for n, (operands, _), d in zip(near, shape.products, laned))
    tiling = Tiling(high, wide, resident, laned)
    return Geometry(slices, members, threads, tile, room, splits, tuple(near), tiling, device.shared_bytes - left)


def _terms(operands: tuple[int, ...], laned: bool) -> int:
    """Inner indices that a member's weights are kept for."""
    return sum(map(padded, operands) if laned else operands)


def _near(operands: tuple[int, ...], most: int, step: int, laned: bool) -> int:
    """Inner indices that there is room for in shared memory: whole operands, and a multiple of `step` of the next."""
    near = 0
    for n in operands:
        whole = padded(n) if laned else n
        if near + whole > most:
            return near + (most - near) // step * step
        near += whole
    return near


def _split(inner: int, sums: int, threads: int, laned: bool, warp: int) -> int:
    """Shares of the inner size: as many as keep all threads busy."""
    lanes = warp if laned else 1
    return max(1, min(threads // lanes // max(sums, 1), inner // (_LEAST * lanes)))


def step_seconds(shape: Shape, g: Geometry) -> float:
    """The model's time of one step."""
    if g.tiling.tensor:
        return tensor_cycles(shape, g) / timing.CLOCK
    cycles, tiles, words = 0.0, -(-g.room // g.tile), shape.item / 4
    units = -(-shape.units // g.members)
    for wave in shape.waves:
        parts = [timing.phase(g.tile * units, g.threads)]
        for k in wave:
            inner, columns = shape.products[k][0], shape.columns(k, g.members)
            high, wide, streamed = g.tiling.rows, g.tiling.columns, 1 - g.near[k] / _terms(inner, g.tiling.laned[k])
            form = high, wide, g.splits[k], g.threads, g.tiling.laned[k]
            parts.append(timing.product(inner, padded(columns), g.tile, *form, streamed, words))
            parts.append(timing.partial_sums(g.tile * columns, g.splits[k], g.threads, words))
        cycles += tiles * timing.together(parts) + (timing.MEET if g.members > 1 and wave else 2 * timing.SYNC)
    return cycles / timing.CLOCK
