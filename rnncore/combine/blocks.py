"""The blocks: a loop over time, blocks after one another, blocks beside one another, time reversed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..lang.cell import Layer, sizes_of
from .wired import Wired

__all__ = ["Block", "Loop", "Chain", "Join", "Reverse", "last_loop", "loops_in", "reads_backward"]

Sizes = Mapping[str, int]


class Block(ABC):
    """A map from sequences to sequences, with parameters and states under path prefixes."""

    @abstractmethod
    def walk(self, prefix: str, sizes: Sizes) -> Iterator[tuple[str, Layer | Wired, dict[Any, int]]]:
        """Every loop as (path prefix, layer, numbers of its size symbols), in the order of execution."""

    @abstractmethod
    def features(self, sizes: Sizes) -> int:
        """Size of the output at each step."""

    def parameters(self, prefix: str, sizes: Sizes) -> Iterator[tuple]:
        """(path, shape, role, start, author's line) of parameters that belong to no loop."""
        yield from ()

    def handed(self, prefix: str, sizes: Sizes) -> Iterable[tuple[str, int, list[tuple[str, int]]]]:
        """States that start from other states: (path, size, paths and sizes of those)."""
        return ()

    @abstractmethod
    def readers(self) -> Iterator[Layer | Wired]:
        """The layers that read the network's own ``x``."""


@dataclass(frozen=True)
class Loop(Block):
    """A layer's step repeated over time, its states fed back (the Elman form)."""

    layer: Layer | Wired

    def walk(self, prefix, sizes):
        yield prefix, self.layer, sizes_of(self.layer, sizes)

    def readers(self):
        yield self.layer

    def features(self, sizes):
        step = self.layer.step
        return sizes_of(self.layer, sizes)[step.output.shape[0]]


@dataclass(frozen=True)
class Chain(Block):
    """Blocks one after another; further inputs reach every block by their name.

    ``dropout`` drops elements of what passes from one block to the next (training only, Zaremba
    et al. 2014); ``residual`` adds a block's input to its output, for every block but the first
    (Wu et al. 2016).
    """

    blocks: tuple[Block, ...]
    dropout: float = 0.0
    residual: bool = False

    def stages(self, sizes: Sizes) -> Iterator[tuple[int, Block, Sizes]]:
        """Each block with its place and the sizes of what it reads."""
        sizes = dict(sizes)
        for k, block in enumerate(self.blocks):
            yield k, block, sizes
            out = block.features(sizes)
            if self.residual and k and out != sizes["x"]:
                raise InputError(
                    f"a residual connection needs equal sizes: block {k} reads {sizes['x']} features and gives {out}"
                )
            sizes = {**sizes, "x": out}

    def walk(self, prefix, sizes):
        for k, block, read in self.stages(sizes):
            yield from block.walk(f"{prefix}{k}.", read)

    def readers(self):
        yield from self.blocks[0].readers()

    def features(self, sizes):
        for _, block, read in self.stages(sizes):
            out = block.features(read)
        return out


@dataclass(frozen=True)
class Join(Block):
    """Blocks that read the same sequence, their outputs merged by ``concat``, ``sum`` or ``mean``."""

    names: tuple[str, ...]
    blocks: tuple[Block, ...]
    merge: str = "concat"

    def walk(self, prefix, sizes):
        for name, block in zip(self.names, self.blocks):
            yield from block.walk(f"{prefix}{name}.", sizes)

    def readers(self):
        for block in self.blocks:
            yield from block.readers()

    def features(self, sizes):
        parts = [b.features(sizes) for b in self.blocks]
        if self.merge == "concat":
            return sum(parts)
        if len(set(parts)) > 1:
            raise InputError(f"merge={self.merge!r} needs outputs of equal size, got {parts}")
        return parts[0]


@dataclass(frozen=True)
class Reverse(Block):
    """A block that reads every sequence from its own end to its start; its output is put back in place."""

    block: Block

    def walk(self, prefix, sizes):
        yield from self.block.walk(prefix, sizes)

    def readers(self):
        yield from self.block.readers()

    def features(self, sizes):
        return self.block.features(sizes)


def loops_in(block: Block) -> Iterator[Loop]:
    """Every loop of a block."""
    if isinstance(block, Loop):
        yield block
    inner = getattr(block, "blocks", None) or [b for b in [getattr(block, "block", None)] if b is not None]
    for each in inner:
        yield from loops_in(each)


def last_loop(block: Block) -> Loop | None:
    """The loop that gives a block's output; None where several do."""
    if isinstance(decoder := getattr(block, "decoder", None), Loop):
        return decoder
    if isinstance(block, Chain):
        return last_loop(block.blocks[-1])
    if isinstance(block, Reverse):
        return last_loop(block.block)
    return block if isinstance(block, Loop) else None


def reads_backward(block: Block) -> bool:
    """Whether a block needs the end of a sequence before its start."""
    return isinstance(block, Reverse) or any(reads_backward(b) for b in getattr(block, "blocks", ()))
