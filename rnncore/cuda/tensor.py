"""The texts of products on tensor cores: rounded copies of their operands, and tiles of sums.

Weights lie member by member, eight columns after eight, block of k by block of k; the copies as `rnncore.cuda.copies`
says. Whoever stores a number of an operand rounds it into the copy too; what the loop does not store number by number
is brought there before the product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plan.model import Product
from .copies import COLUMN, ROW, in_block
from .writer import Writer

__all__ = ["bring", "copy_carried", "head_of_copies", "head_of_tiles", "tile_of", "turns"]

Place = tuple[str, str]


def head_of_copies(w: Writer) -> None:
    """Where the copies of the block's slice lie, and their sizes."""
    for c, given in enumerate(w.copies.lists):
        at, many = "0", in_block(w.copies.kind)
        for o, (_, dim) in enumerate(given):
            w.head.append(f"copy_from_{c}_{o} = {at}")
            at = f"copy_from_{c}_{o} + ({w.count_of(dim)} + {many - 1}) // {many} * {ROW}"
        w.head.append(f"copy_wide_{c} = {at}")
        w.head.append(f"copy_size_{c} = (s_room + 15) // 16 * copy_wide_{c}")
        w.head.append(f"copy_at_{c} = {w.pointer(f'copy.{c}')} + slice_ * 2 * copy_size_{c}")


def head_of_tiles(w: Writer, k: int, product: Product) -> int:
    """The weights of a product's columns; how many columns a warp has."""
    c = w.copies.of[id(product)]
    for name in (f"split.{k}", f"pad.{k}"):
        w.size(name)
    w.head.append(f"pack{k} = {w.size(f'eights.{k}')} * copy_wide_{c} // {ROW // COLUMN}")
    w.head.append(f"at_pack{k} = {w.pointer(f'pack.{k}')} + member * pack{k}")
    return 8 * w.tiling.eights[k]


def turns(w: Writer, step: str) -> None:
    """Where the copies begin that a step reads, and those of the next."""
    for c in range(len(w.copies.lists)):
        w.put(f"copy_now_{c} = copy_at_{c} + ({step} & 1) * copy_size_{c}")
        w.put(f"copy_then_{c} = copy_at_{c} + ({step} + 1 & 1) * copy_size_{c}")


def copy_carried(w: Writer, shifts: Callable[[str], None]) -> None:
    """Copy what a launch finds of the states, or of their adjoints: of both turns, for rows may begin at each.

    `shifts` puts down where the rows of a step lie.
    """
    copies = w.copies
    carried = [(at, c, o, dim) for c, given in enumerate(copies.lists) for o, (at, dim) in enumerate(given)
               if at[0] == copies.carried]  # fmt: skip
    if not carried:
        return
    w.put("rows = b1 - b0" if copies.reverse else "rows = min(active, b1) - b0")
    w.put(f"turn, turns = t, t + {2 if copies.reverse else 1}")
    w.block("while turn < turns:")
    shifts("turn")
    _copied(w, carried)
    w.put("turn += 1")
    w.end()


def bring(w: Writer, products: list[Product], barriers) -> None:
    """Copy operands of a wave that are not where they are stored."""
    strays = []
    for c in dict.fromkeys(w.copies.of[id(p)] for p in products if id(p) in w.copies.of):
        for o, (at, dim) in enumerate(w.copies.lists[c]):
            if not w.copies.stored(at) and (c, o) not in w.copies.brought:
                strays.append((at, c, o, dim))
                w.copies.brought.add((c, o))
    if strays:
        places = {stray[0] for stray in strays}
        barriers.before(places, set())
        _copied(w, strays)
        barriers.owned |= places


def _copied(w: Writer, operands: list[tuple[Place, int, int, Any]]) -> None:
    """Every thread copies its own rows and units."""
    w.put("i0, many = 0, min(s_tile, rows)")
    w.block("while i0 < rows:")
    for place, c, o, dim in operands:
        array, base, ld, kind = w.locate(place)
        k = w.walk_from(dim)
        value = f"load({array}, {base} + {w.row(kind, 'b')} * {ld} + u)"
        w.put(w.copies.store(w.copies.row(c, o, "now"), "u", value))
        w.walk_on(k)
        w.end()
    w.put("i0 += s_tile")
    w.put("many = min(s_tile, rows - i0)")
    w.end()


def tile_of(w: Writer, product: Product, k: int) -> None:
    """A warp's rows and columns."""
    tiling, c = w.tiling, w.copies.of[id(product)]
    matrix, start = ("shm", f"held_{k}") if tiling.resident[k] else ("weights", f"at_pack{k}")
    eights, high = tiling.eights[k], tiling.rows
    w.put(f"blocks, step = copy_wide_{c} // {ROW}, copy_wide_{c} // {ROW // COLUMN}")
    w.put(f"share = quotient(blocks + s_split_{k} - 1, s_split_{k})")
    w.put(f"at = partial_{k} + (e * s_tile + top * {high}) * s_pad_{k} + group * {8 * eights}")
    roomy = high <= 16 and eights < 5 and tiling.resident[k]  # addresses of weights that are far take registers, too
    w.put(f"tile_{tiling.tensor}({high > 16}, {4 if roomy else 2}, {eights},")
    w.put(f"          memory, copy_now_{c} + ((i0 >> 4) + top * {high // 16}) * copy_wide_{c}, copy_wide_{c},")
    w.put(f"          min({high}, many - top * {high}), {matrix}, {start} + group * {eights} * step, step,")
    w.put(f"          e * share, min((e + 1) * share, blocks), shm, at, s_pad_{k})")
