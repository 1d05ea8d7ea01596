"""What the layout of a launch depends on, and what it is."""

from __future__ import annotations

from dataclasses import dataclass

from .writer import Tiling

__all__ = ["THREADS", "Geometry", "Shape"]

THREADS = 256  # of a block


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
    """A launch: see `rnncore.cuda.emit`.

    ``splits`` are the shares of each product's inner size, ``near`` the inner indices whose weights stay in shared
    memory.
    """

    slices: int
    members: int
    threads: int
    tile: int
    room: int
    splits: tuple[int, ...]
    near: tuple[int, ...]
    tiling: Tiling
    shared_bytes: int

    @property
    def blocks(self) -> int:
        return self.slices * self.members
