"""What a pass keeps of each block for the way back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .cpu.run import LoopTape

__all__ = ["Kept", "loops_of"]


@dataclass(eq=False)
class Kept:
    """A block's part of the tape."""

    block: Any
    inner: list = field(default_factory=list)
    extra: dict = field(default_factory=dict)


def loops_of(node) -> Iterator[LoopTape]:
    """The tapes of every loop below a block's part of the tape."""
    if isinstance(node, Kept):
        for part in node.inner:
            yield from loops_of(part)
    elif node is not None:
        yield node
