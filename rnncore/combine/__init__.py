"""Blocks that topologies are made of. `Loop` is the only one that recurs."""

from .blocks import Block, Chain, Join, Loop, Reverse
from .build import chain, join, loop, reverse
from .topology import Arrangement, Topology, as_block, topology

__all__ = [
    "Arrangement", "Block", "Chain", "Join", "Loop", "Reverse", "Topology", "as_block", "chain", "join", "loop",
    "reverse", "topology",
]  # fmt: skip
