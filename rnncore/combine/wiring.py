"""Graph to graph: the equations of one or several layers as one step, their operands rewired, outputs fed back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..lang.cell import Layer
from ..lang.dims import POSITION, UNITS, Dim, unify
from ..lang.graph import Graph, Node, topological
from ..lang.ops import apply, as_node
from ..lang.origin import author_line, fail, pinned_origin
from ..lang.trace import Step
from ..lang.weights import Parameter
from .attention import attend

__all__ = ["FORCED", "TRUE", "Wiring"]

TRUE, FORCED = "true", "forced"  # further inputs of a taught step: the true output, and whether it is handed on

Operands = Mapping[str, Node]


class Wiring:
    """A step under construction: what the function given to `wired` calls.

    Nodes are symbols as in a cell, and the functions of `rnncore.lang` work on them. Parameters, states
    and further inputs of each layer come in under their own names, behind the layer's prefix.
    """

    def __init__(self, graph: Graph, taught: bool = False):
        self.graph, self.taught = graph, taught
        self.inputs: dict[str, Node] = {}
        self.states: dict[str, Node] = {}
        self.sources: dict[str, Node] = {}
        self.roots: dict[str, Node] = {}
        self.extras: dict[str, Node] = {}
        self.members: list[tuple[str, Layer]] = []
        self.made: dict[tuple, tuple[Node, Parameter]] = {}
        self.fed_back: str | None = None
        self._state_of: dict[int, str] = {}
        self._outputs: dict[str, Node] = {}  # of the layers, by prefix
        self._asked: set[str] = set()  # states that hold an output of the step before

    def input(self, name: str) -> Node:
        """The network's input `name` at this step."""
        if name not in self.inputs:
            self.inputs[name] = self.graph.leaf("input", name, (Dim(symbols=[name]),), "step")
        return self.inputs[name]

    def source(self, name: str, size: Dim | None = None) -> Node:
        """Another sequence, all of which every step sees: (position, size)."""
        if name not in self.sources:
            own = Dim(symbols=[name])
            if size is not None:
                unify(own, size, author_line())
            self.sources[name] = self.graph.leaf("source", name, (POSITION, own), "step")
        return self.sources[name]

    def attend(self, scorer, query: Node, values: Node, prefix: str = "scorer.") -> Node:
        """The context Σ_p α_p v_p of a source's values, α the softmax over its positions of their scores.

        The weights α become the further output ``alpha``. Bahdanau, Cho and Bengio 2014; Luong et al. 2015.

        Parameters
        ----------
        scorer : Scorer or Bound
            A scorer, with options or as it is; its free sizes are that of the query.
        query : Node
            A vector.
        values : Node
            Of `source`; each value is its own key.
        prefix : str
            Path of the scorer's parameters.
        """
        context, self.extras["alpha"] = attend(self, scorer, query, values, prefix)
        return context

    def affine(self, path: str, *, bias: bool = True, **operands: Node) -> Node:
        """An affine map under a path's last name: ``affine("attention.s", h=h, C=c)`` is W_hs h + W_Cs c + b_s.

        It is as large as its first operand.
        """
        prefix, _, name = path.rpartition(".")
        prefix, size = prefix and prefix + ".", next(iter(operands.values())).shape[0]
        terms = [
            apply("matmul", self.parameter(f"{prefix}W_{letter}{name}", (size, v.shape[0]), "input", None), v)
            for letter, v in operands.items()
        ]
        if bias:
            terms.append(self.parameter(f"{prefix}b_{name}", (size,), "bias", None))
        total = terms[0]
        for term in terms[1:]:
            total = apply("add", total, term)
        return total

    def state(self, name: str, size: int | None = None) -> Node:
        """A state of the wiring's own, as the step before left it; `next` says what becomes of it.

        Parameters
        ----------
        name : str
        size : int, optional
            None where what is handed on has a size.
        """
        if name not in self.states:
            dim = Dim() if size is None else Dim(number=_positive(f"the size of state {name!r}", size))
            self.states[name] = self.graph.leaf("state", name, (dim,), "step")
        return self.states[name]

    def next(self, name: str, value: Node, *, output: bool = False) -> None:
        """Hand `value` on as state `name`.

        With `output` it is an output fed back: training may hand on the true one in its place
        (teacher forcing, Williams and Zipser 1989), through which no gradient flows.
        """
        if f"next.{name}" in self.roots:
            raise fail(f"two states would both be called {name!r}; rename the cell's, or give its layer a prefix")
        value = as_node(value, self.graph)
        if len(value.shape) != 1:
            raise fail(f"state {name!r} is a vector, and so is what is handed on")
        if output:
            self.fed_back = name
        if output and self.taught:
            size = value.shape[0]
            self.inputs[f"{name}.{TRUE}"] = true = self.graph.leaf("input", f"{name}.{TRUE}", (size,), "step")
            coin = self.graph.leaf("input", f"{name}.{FORCED}", (), "step")
            self.inputs[f"{name}.{FORCED}"] = coin
            value = apply("where", coin, apply("stop", true), value)
        unify(self.state(name).shape[0], value.shape[0], author_line())
        self.roots[f"next.{name}"] = value

    def layer(
        self,
        layer: Layer,
        prefix: str = "",
        *,
        inputs: Operands | None = None,
        instead: Mapping[str, Operands] | None = None,
        beside: Mapping[str, Operands] | None = None,
    ) -> Node:
        """Bring in a layer's equations; their output.

        Parameters
        ----------
        layer : Layer
        prefix : str
            Path of its parameters and states, such as ``"0."``.
        inputs : mapping of str to Node, optional
            What the layer's inputs are; those not given are the network's.
        instead : mapping of str to mapping, optional
            By an input's or a state's name the operands, by name, that affine maps take in its place where they
            read it itself. Pointwise uses and computed operands keep it.
        beside : mapping of str to mapping, optional
            Likewise, operands that such maps take besides.

        Raises
        ------
        LanguageError
            No affine map reads what is to be rewired, or sizes or names do not fit.
        """
        beside = {n: operands for n, operands in (beside or {}).items() if operands}
        wires = {n: tuple(operands) for n, operands in (instead or {}).items()}
        wires |= {n: (n, *operands) for n, operands in beside.items()}
        step = layer.cell.rewired(layer.options, wires)
        given = dict(inputs or {})
        for operands in [*(instead or {}).values(), *beside.values()]:
            given |= operands
        self.members.append((prefix, layer))
        values = self._inlined(step, prefix, given)
        for s in step.states:
            self.next(prefix + s, values["next." + s])
        self._outputs[prefix] = values["y"]
        if prefix + "y" in self._asked:
            self.next(prefix + "y", values["y"])
        if not step.separate_output:
            self._state_of[values["y"].id] = prefix + step.states[0]
        return values["y"]

    def before(self, layer: Layer, prefix: str = "") -> Node:
        """A layer's output one step ago: its first state, or a state ``<prefix>y`` where its output is none."""
        step = layer.step
        if not step.separate_output:
            return self.state(prefix + step.states[0])
        if prefix in self._outputs and prefix + "y" not in self._asked:
            self.next(prefix + "y", self._outputs[prefix])
        self._asked.add(prefix + "y")
        return self.state(prefix + "y")

    def readout(self, h: Node, outputs: int) -> Node:
        """The affine readout o = c + V h, parameters ``readout.V`` (outputs, size of h) and ``readout.c``."""
        size = Dim(number=_positive("outputs", outputs))
        weight = self.parameter("readout.V", (size, h.shape[0]), "readout", None)
        return apply("matmul", weight, h) + self.parameter("readout.c", (size,), "bias", None)

    def final_names(self) -> dict[tuple, str]:
        """Parameters already have their names (see `rnncore.lang.trace.resolve`)."""
        return {key: key[0] for key in self.made}

    def output_state(self, output: Node) -> str | None:
        """The state whose new value `output` is."""
        return self._state_of.get(output.id)

    def parameter(self, name: str, shape: tuple, role: str, start: Any, origin=None) -> Node:
        """A learned array under its full name."""
        if (name,) in self.made:
            raise fail(f"two different weights would both be called {name!r}; bring in layers under different prefixes")
        node = self.graph.leaf("param", name, shape, "call")
        self.made[(name,)] = node, Parameter(name, shape, role, start, origin or author_line())
        return node

    def _inlined(self, step: Step, prefix: str, given: Operands) -> dict[str, Node]:
        """The roots of a step copied into this graph, on what its inputs are."""
        sizes = _Sizes(prefix)
        for name in step.inputs:
            node = given[name] if name in given else self.input(name)
            unify(sizes[name], node.shape[0], step.fixed.get(name))
        for a, b, origin in [*step.equal, *((step.dims[n], n, step.fixed.get(n)) for n in step.inputs)]:
            unify(sizes[a], sizes[b], origin)
        leaves: dict[tuple, Node] = {}
        for p in step.params:
            shape = tuple(sizes[d] for d in p.shape)
            leaves["param", p.name] = self.parameter(prefix + p.name, shape, p.role, p.start, p.origin)
        for s in step.states:
            leaves["state", s] = leaf = self.state(prefix + s)
            unify(leaf.shape[0], sizes[step.dims[s]], step.fixed.get(s))
        self.graph.arrays |= step.arrays
        made: dict[int, Node] = {}
        for node in topological(step.roots.values()):
            with pinned_origin(node.origin):
                made[node.id] = self._copied(node, made, leaves, given, sizes)
        return {key: made[node.id] for key, node in step.roots.items()}

    def _copied(self, node: Node, made, leaves, given: Operands, sizes: _Sizes) -> Node:
        if node.op == "leaf" and node.attrs in leaves:
            return leaves[node.attrs]
        if node.op == "leaf":
            name = node.attrs[1]
            if name not in given:
                return self.input(name) if node.shape else self.graph.leaf("input", name, (), "step")
            if len(given[name].shape) != len(node.shape):
                raise fail(f"{name} is taken as one number, but what is wired there is a vector")
            return given[name]
        attrs = tuple(sizes[a] for a in node.attrs) if node.op == "size" else node.attrs
        shape = tuple(sizes[d] for d in node.shape)
        return self.graph.make(node.op, tuple(made[a.id] for a in node.args), attrs, shape)


class _Sizes(dict):
    """The sizes of a step's symbols in the graph that it is copied into."""

    def __init__(self, prefix: str):
        self.prefix = prefix

    def __missing__(self, symbol) -> Dim:
        if isinstance(symbol, int):
            return Dim(number=symbol)
        self[symbol] = Dim(symbols=[self.prefix + UNITS] if symbol == UNITS else [])
        return self[symbol]


def _positive(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise fail(f"{what} must be a positive integer, got {value!r}")
    return value
