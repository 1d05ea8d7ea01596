"""Blocks that topologies are made of. `Loop` is the only one that recurs."""

from .blocks import Block, Chain, Join, Loop, Reverse
from .build import chain, join, loop, reverse, wired
from .topology import Arrangement, Topology, as_block, topology
from .translate import Translate, translate
from .wired import Wired
from .wiring import Wiring

__all__ = [
    "Arrangement", "Block", "Chain", "Join", "Loop", "Reverse", "Topology", "Translate", "Wired", "Wiring", "as_block",
    "chain", "join", "loop", "reverse", "topology", "translate", "wired",
]  # fmt: skip
