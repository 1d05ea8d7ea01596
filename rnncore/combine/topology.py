"""A topology is a function from blocks to a block; calling it gives an immutable description."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, RnncoreError
from ..lang.cell import Layer
from ..lang.component import Bound, Component
from .blocks import Block, Loop, loops_in
from .wired import Wired

__all__ = ["Topology", "Arrangement", "topology", "as_block"]


class Topology(Component):
    """What ``@topology`` returns. Called with layers or other arrangements it gives an arrangement."""

    kind = "topology"

    def __call__(self, *blocks, **options) -> Arrangement:
        """Arrange `blocks`.

        Raises
        ------
        InputError
            Wrong number or kind of blocks, unknown option, or what the topology itself refuses.
        """
        for b in blocks:
            if not isinstance(b, (Layer, Arrangement)):
                raise InputError(
                    f"topology {self.name!r} arranges layers and other topologies, got {type(b).__name__}: {b!r}"
                )
        chosen = self.complete(options)
        try:
            inspect.signature(self.fn).bind(*blocks, **chosen)
        except TypeError as error:
            raise InputError(f"topology {self.name!r}: {error}; got {len(blocks)} blocks") from None
        made = Arrangement(self, blocks, tuple(chosen.items()))
        made.block  # noqa: B018  (an impossible option is refused here)
        return made

    def fingerprint_of(self, block: Block) -> str:
        """A hash of how the blocks are combined."""
        wirings = [loop.layer.step.fingerprint for loop in loops_in(block) if isinstance(loop.layer, Wired)]
        return hashlib.sha256(" ".join([repr(block), *wirings]).encode()).hexdigest()[:16]

    def __hash__(self):
        return hash(self.fn)


@dataclass(frozen=True)
class Arrangement:
    """Layers arranged by a topology: an immutable description."""

    topology: Topology
    children: tuple[Any, ...]
    items: tuple[tuple[str, Any], ...]

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.items)

    @property
    def block(self) -> Block:
        try:
            made = self.topology.fn(*self.children, **self.options)
        except ValueError as error:
            if isinstance(error, RnncoreError):
                raise
            raise InputError(f"topology {self.topology.name!r}: {error}") from error
        if isinstance(made, (Layer, Arrangement)):
            return as_block(made)
        if not isinstance(made, Block):
            raise InputError(
                f"topology {self.topology.name!r} must return a block of rnncore.combine, got {type(made).__name__}"
            )
        return made

    def describe(self) -> dict[str, Any]:
        """The arrangement as plain JSON."""
        return {
            "topology": self.topology.name,
            "blocks": [c.describe() for c in self.children],
            "options": {k: described(v) for k, v in self.items},
            "graph": self.topology.fingerprint_of(self.block),
        }

    def __repr__(self) -> str:
        changed = [f"{k}={v!r}" for k, v in self.items if v != self.topology.options[k]]
        return f"{self.topology.name}({', '.join([*map(repr, self.children), *changed])})"


def described(option: Any) -> Any:
    """An option as plain JSON; a chosen component by kind, name, options and the hash of its equations."""
    if isinstance(option, Bound):
        return {"kind": option.component.kind, **option.describe(), "graph": option.fingerprint}
    return [described(v) for v in option] if isinstance(option, tuple) else option


def topology(fn: Callable) -> Topology:
    """Make a topology of a function ``(block, ..., *, option=default) -> block``.

    Examples
    --------
    >>> from rnncore.combine import topology, join, reverse
    >>> @topology
    ... def both_ways(block, *, merge="concat"):
    ...     return join(merge, forward=block, backward=reverse(block))
    """
    return Topology(fn)


def as_block(value) -> Block:
    """The block of a layer, of an arrangement, or the block itself."""
    if isinstance(value, Block):
        return value
    if isinstance(value, Layer):
        return Loop(value)
    if isinstance(value, Arrangement):
        return value.block
    raise InputError(f"a network is made of layers and topologies, got {type(value).__name__}: {value!r}")
