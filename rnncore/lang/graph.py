"""The graph of a step: hash-consed nodes, checked after every pass."""

from __future__ import annotations

import hashlib
import itertools
import linecache
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .dims import Dim, Origin, unify
from .origin import author_line, fail
from .symbols import Arithmetic

__all__ = ["Node", "Graph", "check_graph", "fingerprint", "match", "topological", "tracing"]

_now = threading.local()


class Node(Arithmetic):
    """One value of a step: an op, its arguments and attributes, its shape and its level.

    ``level`` is ``"call"`` for what depends on parameters and constants alone, else ``"step"``.
    ``shape`` is a tuple of axis sizes (`Dim` while tracing, then names or numbers); ``()`` is a scalar.
    """

    __slots__ = ("graph", "op", "args", "attrs", "shape", "level", "origin", "id")

    def __init__(self, graph, op, args, attrs, shape, level, origin, ident):
        self.graph, self.op, self.args, self.attrs = graph, op, args, attrs
        self.shape, self.level, self.origin, self.id = shape, level, origin, ident

    __hash__ = object.__hash__

    def __eq__(self, other):
        if getattr(_now, "tracing", False) and isinstance(other, (Node, int, float)) and other is not self:
            return self._op("eq", self, other)
        return self is other

    def __ne__(self, other):
        if getattr(_now, "tracing", False) and isinstance(other, (Node, int, float)):
            return self._op("ne", self, other)
        return self is not other

    @property
    def is_const(self) -> bool:
        return self.op == "const"

    @property
    def value(self) -> float:
        return self.attrs[0]

    def __repr__(self):
        return f"%{self.id} = {self.op}{list(self.attrs) or ''}({', '.join(f'%{a.id}' for a in self.args)})"


class tracing:
    """Within this context ``==`` between symbols is an op of the language."""

    def __enter__(self):
        self.before = getattr(_now, "tracing", False)
        _now.tracing = True

    def __exit__(self, *exc):
        _now.tracing = self.before


_ASSIGNED = re.compile(r"^\s*([A-Za-z_]\w*)\s*=(?!=)")


class Graph:
    """The table of nodes: the same op of the same arguments is the same node.

    `scalar_inputs` says whether what runs the graph can read an input of one number as a scalar.
    """

    def __init__(self, scalar_inputs: bool = True):
        self.scalar_inputs = scalar_inputs
        self._table: dict[tuple, Node] = {}
        self._ids = itertools.count()
        self.arrays: dict[str, np.ndarray] = {}
        self.names: dict[int, str] = {}  # the author's variables, by node id

    def make(self, op: str, args: tuple[Node, ...] = (), attrs: tuple = (), shape: tuple = (), level=None) -> Node:
        key = (op, tuple(a.id for a in args), attrs, len(shape) if op == "leaf" else 0)
        found = self._table.get(key)
        if found is not None:
            return found
        if level is None:
            level = "step" if any(a.level == "step" for a in args) else "call"
        node = Node(self, op, args, attrs, shape, level, author_line(), next(self._ids))
        return self._table.setdefault(key, node)  # another thread may have made it meanwhile

    def named_like(self, made: Node, node: Node) -> Node:
        """`made`, which stands for `node` in a rewritten graph, under the author's name of it."""
        if node.id in self.names:
            self.names.setdefault(made.id, self.names[node.id])
        return made

    def take_names(self, order: list[Node]) -> None:
        """Give the last value of each line that assigns a variable the variable's name."""
        last_of_line = {n.origin: n for n in order if n.origin and n.op not in ("const", "leaf", "array")}
        for origin, node in last_of_line.items():
            match = _ASSIGNED.match(linecache.getline(*origin))
            if match:
                self.names[node.id] = match.group(1)

    def const(self, value: float) -> Node:
        return self.make("const", (), (float(value),))

    def leaf(self, kind: str, name: str, shape: tuple, level: str) -> Node:
        return self.make("leaf", (), (kind, name), shape, level)

    def array(self, value: np.ndarray) -> Node:
        value = np.array(value, dtype=np.float64)
        value.setflags(write=False)
        key = hashlib.sha256(repr(value.shape).encode() + value.tobytes()).hexdigest()[:16]
        self.arrays[key] = value
        return self.make("array", (), (key,), tuple(Dim(number=n) for n in value.shape), "call")


def topological(roots: Iterable[Node]) -> list[Node]:
    """Every node that `roots` need, arguments first, in a stable order."""
    order: list[Node] = []
    seen: set[int] = set()
    for root in roots:
        stack: list[tuple[Node, Iterator[Node]]] = [(root, iter(root.args))]
        if root.id in seen:
            continue
        seen.add(root.id)
        while stack:
            node, rest = stack[-1]
            for arg in rest:
                if arg.id not in seen:
                    seen.add(arg.id)
                    stack.append((arg, iter(arg.args)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def fingerprint(roots: dict[str, Node]) -> str:
    """A hash of the structure: ops, attributes, shapes; no names of variables, files or lines."""
    order = topological(roots.values())
    index = {n.id: k for k, n in enumerate(order)}
    rows = []
    for n in order:
        shape, arguments = [str(d) for d in n.shape], [index[a.id] for a in n.args]
        rows.append(f"{n.op}|{n.attrs}|{shape}|{n.level}|{arguments}")
    rows += [f"{key}={index[n.id]}" for key, n in roots.items()]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def check_graph(roots: dict[str, Node]) -> None:
    """Check arity, shapes, levels and order of every node.

    Raises
    ------
    AssertionError
        A pass of the engine made a malformed graph: a defect of the engine, not of a plugin.
    """
    from .ops import OPS

    for node in topological(roots.values()):
        if node.op in ("const", "leaf", "array", "size", "eye", "zeros"):
            continue
        row = OPS[node.op]
        assert row.arity == len(node.args), f"{node!r}: {row.arity} arguments expected"
        level = "step" if any(a.level == "step" for a in node.args) else "call"
        assert node.level == level, f"{node!r}: level {node.level}, expected {level}"
        got = tuple(str(d) for d in node.shape)
        want = tuple(str(d) for d in row.shape(node, *[a.shape for a in node.args]))
        assert got == want, f"{node!r}: shape {got}, expected {want}"


def match(a: Any, b: Any, origin: Origin | None) -> None:
    """Make two axis sizes equal, whether still unknown or resolved."""
    if isinstance(a, Dim) and isinstance(b, Dim):
        unify(a, b, origin)
    elif str(a) != str(b):
        raise fail(f"sizes differ: {a} and {b}", origin)
