"""Generation as one loop: the equations of a network rewired so that a class drawn from its output is read next.

Every parameter keeps its name. What is drawn, or what is given where that is forced (a prompt), is handed on one-hot.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..lang.cell import Layer
from ..lang.dims import Dim
from ..lang.drawing import DRAW
from ..lang.functions import dot, exp, log, stop_gradient, where
from ..lang.functions import max as largest
from ..lang.functions import sum as total
from ..lang.graph import Graph, Node
from ..lang.ops import apply
from ..lang.origin import fail, pinned_origin
from ..lang.trace import Step, run_traced
from .blocks import Block, Chain, Loop
from .wired import Wired, resolved
from .wiring import Wiring

__all__ = ["FORCED", "GIVEN", "HOW", "LOG", "TOKEN", "Speaking", "speaks"]

GIVEN, FORCED, HOW = "token.given", "token.forced", "token.how"  # inputs: a prompt, whether it is read, how to draw
TOKEN, LOG = "token", "log"  # further outputs: what is drawn, and the logarithm of its probability
STATE = "token"  # of a chain, that holds the class handed on


def speaks(block: Block) -> bool:
    """Whether a block is one whose next step can read a class drawn from a readout on it: layers in a chain."""
    if isinstance(block, Chain):
        return all(speaks(inner) for inner in block.blocks)
    return isinstance(block, Loop) and not (isinstance(block.layer, Wired) and block.layer.fed_back is not None)


@dataclass(frozen=True)
class Speaking:
    """Blocks as one step that reads the class drawn from its own output the step before.

    Either a chain of blocks that read classes, with a readout on it; or wired layers that feed their own output back,
    in whose place comes what is drawn. `outputs` is the number of classes.
    """

    block: Block | Wired
    outputs: int

    @property
    def name(self) -> str:
        return "generate"

    @property
    def step(self) -> Step:
        """The rewired step."""
        return _traced(self)[0]

    @property
    def members(self) -> tuple[tuple[str, Layer], ...]:
        """The layers whose equations the step holds, by the path prefix of their states."""
        return _traced(self)[1]

    @property
    def token(self) -> str:
        """The state that holds the class handed on."""
        return self.block.fed_back or STATE if isinstance(self.block, Wired) else STATE


@lru_cache(maxsize=256)
def _traced(speaking: Speaking) -> tuple[Step, tuple[tuple[str, Layer], ...]]:
    graph = Graph()
    net = Wiring(graph)
    wire = _fed_back if isinstance(speaking.block, Wired) else _chained
    output, origin = run_traced(graph, wire, net, speaking.block, speaking.outputs)
    with pinned_origin(origin):
        return resolved(speaking.name, net, output), tuple(net.members)


def _chained(net: Wiring, block: Block, outputs: int) -> Node:
    """A chain and a readout that read what is drawn."""
    h = _through(net, block, "", net.state(STATE, outputs))
    o = net.readout(h, outputs)
    net.next(STATE, _chosen(net, o, outputs))
    return o


def _through(net: Wiring, block: Block, prefix: str, x: Node) -> Node:
    if isinstance(block, Chain):
        for k, inner in enumerate(block.blocks):
            y = _through(net, inner, f"{prefix}{k}.", x)
            x = apply("add", y, x) if block.residual and k else y
        return x
    assert isinstance(block, Loop)
    layer = block.layer
    if isinstance(layer, Wired):
        return layer.fn(_At(net, prefix, x), *layer.layers, **dict(layer.items))
    return net.layer(layer, prefix, inputs={"x": x})


def _fed_back(net: Wiring, layer: Wired, outputs: int) -> Node:
    """Layers that feed their output back, where what is drawn from that is read."""
    assert layer.fed_back is not None
    at = _At(net, "", None)
    o = layer.fn(at, *layer.layers, **dict(layer.items))
    net.next(layer.fed_back, _chosen(net, o, outputs))
    return o


def _chosen(net: Wiring, o: Node, size: int) -> Node:
    """The class handed on, one-hot: the given one where it is forced, else one drawn from o."""
    graph, places = net.graph, net.graph.array(np.arange(size, dtype=float))
    net.inputs[GIVEN] = given = graph.leaf("input", GIVEN, (), "step")
    net.inputs[FORCED] = forced = graph.leaf("input", FORCED, (), "step")
    net.inputs[HOW] = how = graph.leaf("input", HOW, (Dim(number=DRAW),), "step")
    drawn = apply("draw", o, how)
    shifted = o - stop_gradient(largest(o))
    net.extras[TOKEN], net.extras[LOG] = dot(drawn, places), dot(drawn, shifted) - log(total(exp(shifted)))
    return where(forced, where(apply("eq", places, given), 1, 0), drawn)


class _At:
    """A wiring seen from a path, where x may be another node; an output fed back is left to others."""

    def __init__(self, net: Wiring, path: str, x: Node | None):
        self.net, self.path, self.given = net, path, {} if x is None else {"x": x}

    def input(self, name: str) -> Node:
        return self.given[name] if name in self.given else self.net.input(name)

    def source(self, name: str, size=None) -> Node:
        return self.net.source(self.path + name, size)

    def attend(self, scorer, query: Node, values: Node, prefix: str = "scorer.") -> Node:
        return self.net.attend(scorer, query, values, self.path + prefix)

    def affine(self, path: str, *, bias: bool = True, **operands: Node) -> Node:
        return self.net.affine(self.path + path, bias=bias, **operands)

    def state(self, name: str, size: int | None = None) -> Node:
        return self.net.state(self.path + name, size)

    def next(self, name: str, value: Node, *, output: bool = False) -> None:
        if not output:
            self.net.next(self.path + name, value)

    def layer(self, layer: Layer, prefix: str = "", *, inputs=None, instead=None, beside=None) -> Node:
        inputs = {**self.given, **(inputs or {})}
        return self.net.layer(layer, self.path + prefix, inputs=inputs, instead=instead, beside=beside)

    def before(self, layer: Layer, prefix: str = "") -> Node:
        return self.net.before(layer, self.path + prefix)

    def readout(self, h: Node, outputs: int) -> Node:
        if self.path:
            raise fail("a readout of their own have blocks that feed it back, and these stand alone in generation")
        return self.net.readout(h, outputs)
