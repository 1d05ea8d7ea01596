"""The combinators that a topology calls: each checks what it is given and returns a block."""

from __future__ import annotations

from ..errors import InputError
from ..lang.cell import Layer
from .blocks import Chain, Join, Loop, Reverse
from .topology import as_block

__all__ = ["loop", "chain", "join", "reverse"]


def loop(layer: Layer) -> Loop:
    """A layer's step repeated over time."""
    if not isinstance(layer, Layer):
        raise InputError(f"a loop needs a layer such as a cell called with its units, got {type(layer).__name__}")
    return Loop(layer)


def chain(*blocks, dropout: float = 0.0, residual: bool = False) -> Chain:
    """Blocks one after another.

    Raises
    ------
    InputError
        No block is given, or `dropout` is outside [0, 1).
    """
    if not blocks:
        raise InputError("a chain needs at least one block, got none")
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise InputError(f"dropout must lie in [0, 1), got {dropout!r}")
    if not isinstance(residual, bool):
        raise InputError(f"residual must be True or False, got {residual!r}")
    return Chain(tuple(as_block(b) for b in blocks), float(dropout), residual)


def join(merge: str = "concat", **blocks) -> Join:
    """Named blocks beside one another, reading the same sequence."""
    if merge not in ("concat", "sum", "mean"):
        raise InputError(f"merge must be 'concat', 'sum' or 'mean', got {merge!r}")
    return Join(tuple(blocks), tuple(as_block(b) for b in blocks.values()), merge)


def reverse(block) -> Reverse:
    """A block that runs against time, within each sequence's own length."""
    return Reverse(as_block(block))
