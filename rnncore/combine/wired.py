"""Layers whose equations are wired into one step: described like a layer, run like one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..forking import renewed
from ..lang.cell import Layer
from ..lang.dims import Dim
from ..lang.graph import Graph, Node
from ..lang.origin import fail, pinned_origin, source_of
from ..lang.trace import Signature, Step, resolve, run_traced
from .wiring import FORCED, TRUE, Wiring

__all__ = ["Wired", "resolved"]


@dataclass(frozen=True)
class Wired:
    """Layers, and the function that wires their equations into one step (see `Wiring`). An immutable description.

    With `taught` the step reads, besides, the true output and whether to hand it on (see `Wiring.next`).
    """

    fn: Callable
    layers: tuple[Layer, ...]
    items: tuple[tuple[str, Any], ...] = ()
    taught: bool = False

    @property
    def name(self) -> str:
        return self.fn.__name__

    @cached_property
    def _found(self) -> tuple[Step, tuple[tuple[str, int], ...], str | None]:
        return _traced(self)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_found"}

    @property
    def step(self) -> Step:
        """The traced step."""
        return self._found[0]

    @property
    def members(self) -> tuple[tuple[str, Layer], ...]:
        """The layers whose equations the step holds, by the path prefix of their states."""
        return tuple((prefix, self.layers[k]) for prefix, k in self._found[1])

    @property
    def fed_back(self) -> str | None:
        """The state that is an output fed back; None where there is none."""
        return self._found[2]

    @property
    def teaching(self) -> Wired:
        """The same with the further inputs of teacher forcing (see `true_inputs`)."""
        return replace(self, taught=True)

    @property
    def true_inputs(self) -> tuple[str, str]:
        """Names of the further inputs of `teaching`: the true output, and 1 where it is handed on, else 0."""
        return f"{self.fed_back}.{TRUE}", f"{self.fed_back}.{FORCED}"

    @property
    def source(self) -> str:
        """The wiring's text and the authors' equations."""
        different = dict.fromkeys(layer.source for layer in self.layers)
        return "\n".join([source_of(self.fn), *different])

    def __repr__(self) -> str:
        options = [f"{k}={v!r}" for k, v in self.items]
        return f"{self.name}({', '.join([*map(repr, self.layers), *options])})"


_lock = renewed(threading.Lock())
_found: dict[tuple, tuple[Step, tuple, str | None]] = {}


def _traced(wired: Wired) -> tuple[Step, tuple[tuple[str, int], ...], str | None]:
    """The step, prefix and place of each layer, and the state that is an output; numbers of units do not matter."""
    layers = tuple((layer.cell.fn, tuple((k, type(v), v) for k, v in layer.items)) for layer in wired.layers)
    key = (wired.fn, layers, tuple((k, type(v), v) for k, v in wired.items), wired.taught)
    found = _found.get(key)
    if found is None:
        with _lock:
            found = _found.get(key) or _found.setdefault(key, _trace(wired))
    return found


def _trace(wired: Wired) -> tuple[Step, tuple[tuple[str, int], ...], str | None]:
    graph = Graph()
    net = Wiring(graph, wired.taught)
    layers = [replace(layer, units=0) for layer in wired.layers]  # one step serves every number of units
    output, origin = run_traced(graph, wired.fn, net, *layers, **dict(wired.items))
    with pinned_origin(origin):
        step = resolved(wired.name, net, output)
    places = tuple((prefix, next(k for k, each in enumerate(layers) if each is layer)) for prefix, layer in net.members)
    return step, places, net.fed_back


def resolved(name: str, net: Wiring, output: Any) -> Step:
    """The step that a wiring has become, under the name of its function."""
    if not isinstance(output, Node) or len(output.shape) != 1:
        raise fail(f"{name} must return the output, a vector")
    for state in net.states:
        if f"next.{state}" not in net.roots:
            raise fail(f"{name} hands on no new {state}")
    of = net.output_state(output)
    leaves = net.inputs | net.states | net.sources
    dims = {n: leaf.shape[-1] if leaf.shape else Dim(symbols=[n]) for n, leaf in leaves.items()}
    extras = {f"out.{name}": node for name, node in net.extras.items()}
    signature = Signature(tuple(net.inputs), tuple(key.removeprefix("next.") for key in net.roots))
    step = resolve(name, net.graph, signature, net, net.roots | {"y": output} | extras, dims, of is None)
    return replace(step, of_state=of, sources=tuple(net.sources), extras=tuple(net.extras))
