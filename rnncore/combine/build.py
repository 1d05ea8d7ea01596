"""The combinators that a topology calls: each checks what it is given and returns a block."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import InputError
from ..lang.cell import Layer
from .blocks import Chain, Join, Loop, Reverse
from .topology import as_block
from .wired import Wired

__all__ = ["loop", "chain", "join", "reverse", "wired"]


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


def wired(fn: Callable, *layers: Layer, **options) -> Loop:
    """One loop over the equations of several layers, or of one, wired by a function: graph to graph.

    Parameters
    ----------
    fn : callable
        ``fn(net, *layers, **options)``, at the top level of a module. It is run once, on symbols, builds a step
        by what `Wiring` offers, and returns the output, a vector. Numbers of units are symbols too.
    *layers : Layer
    **options
        What an option of a topology can be.

    Raises
    ------
    InputError
        Something else than a layer is given.
    LanguageError
        The wiring is impossible; the error points at the author's line.

    Examples
    --------
    >>> import rnncore as rn
    >>> from rnncore.combine import topology, wired
    >>> def in_turn(net, first, second):
    ...     below = net.layer(first, "0.", beside={"x": {"above": net.before(second, "1.")}})
    ...     return net.layer(second, "1.", inputs={"x": below})
    >>> @topology
    ... def ring(first, second):
    ...     return wired(in_turn, first, second)
    >>> net = rn.Network(ring(rn.cells.vanilla(4), rn.cells.vanilla(2)), inputs=3)
    >>> net.shapes["0.W_aboveh"]
    (4, 2)
    """
    for layer in layers:
        if not isinstance(layer, Layer):
            raise InputError(f"a loop is wired of layers, cells called with their units, got {type(layer).__name__}")
    made = Wired(fn, layers, tuple(options.items()))
    made.step  # noqa: B018  (an impossible wiring is refused here)
    return Loop(made)
