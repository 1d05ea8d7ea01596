"""The graph of a step: hash-consed nodes, printed one a line, checked after every pass."""

from __future__ import annotations

import hashlib
import itertools
import linecache
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import LanguageError
from .dims import Dim, Origin, unify

__all__ = ["Node", "Graph", "topological", "author_line", "format_graph", "check_graph", "fail"]

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.dirname(_HERE)
_pinned = threading.local()


def author_line() -> Origin | None:
    """File and line of the innermost frame outside the engine: the author's own line."""
    pinned = getattr(_pinned, "origin", None)
    if pinned is not None:
        return pinned or None
    frame = sys._getframe(1)
    while frame is not None:
        if not os.path.abspath(frame.f_code.co_filename).startswith(_PACKAGE + os.sep):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None


class pinned_origin:
    """Within this context new nodes belong to the given author's line, None for no line (derivatives, rewrites)."""

    def __init__(self, origin: Origin | None):
        self.origin = origin

    def __enter__(self):
        self.before = getattr(_pinned, "origin", None)
        _pinned.origin = self.origin if self.origin is not None else ()

    def __exit__(self, *exc):
        _pinned.origin = self.before


def fail(message: str, origin: Origin | None = None) -> LanguageError:
    """A `LanguageError` at the author's line (to be raised by the caller)."""
    origin = origin or author_line()
    return LanguageError(message, *(origin or (None, None)))


_UFUNCS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "less": "lt", "less_equal": "le",
    "greater": "gt", "greater_equal": "ge", "equal": "eq", "not_equal": "ne",
}  # fmt: skip


class Arithmetic:
    """Operators of everything that stands for a value in a step."""

    __slots__ = ()

    def _op(self, name, *args):
        from .ops import apply

        return apply(name, *args)

    def __add__(self, o):
        return self._op("add", self, o)

    def __radd__(self, o):
        return self._op("add", o, self)

    def __sub__(self, o):
        return self._op("sub", self, o)

    def __rsub__(self, o):
        return self._op("sub", o, self)

    def __mul__(self, o):
        return self._op("mul", self, o)

    def __rmul__(self, o):
        return self._op("mul", o, self)

    def __truediv__(self, o):
        return self._op("div", self, o)

    def __rtruediv__(self, o):
        return self._op("div", o, self)

    def __neg__(self):
        return self._op("neg", self)

    def __pos__(self):
        return self

    def __abs__(self):
        return self._op("abs", self)

    def __lt__(self, o):
        return self._op("lt", self, o)

    def __le__(self, o):
        return self._op("le", self, o)

    def __gt__(self, o):
        return self._op("gt", self, o)

    def __ge__(self, o):
        return self._op("ge", self, o)

    def __and__(self, o):
        return self._op("and", self, o)

    def __or__(self, o):
        return self._op("or", self, o)

    def __invert__(self):
        return self._op("not", self)

    def __pow__(self, exponent):
        from .functions import power

        return power(self, exponent)

    @property
    def T(self):
        return self._op("transpose", self)

    def __bool__(self):
        raise fail(
            "`if`, `while`, `and`, `or` and `not` cannot decide on a symbol: the step is traced once, "
            "before there are numbers; write where(condition, a, b), with & | ~ between conditions, or decide on an "
            "option"
        )

    def __float__(self):
        raise fail("a symbol is not a number: use the functions of rnncore.lang, not those of math or numpy")

    __int__ = __index__ = __float__

    def __array_ufunc__(self, ufunc, method, *args, **kwargs):
        """Operators between NumPy's numbers and symbols are ours; NumPy's functions are not."""
        name = _UFUNCS.get(ufunc.__name__)
        if name is None or method != "__call__" or kwargs:
            raise fail(f"np.{ufunc.__name__} cannot take a symbol: use the functions of rnncore.lang")
        return self._op(name, *args)

    def __array__(self, *args, **kwargs):
        raise fail("a symbol is not an array: use the functions of rnncore.lang, not those of numpy")

    def __iter__(self):
        raise fail("a symbol cannot be taken apart: it stands for a whole vector of units")

    def __getitem__(self, key):
        raise fail("a symbol cannot be indexed: it stands for a whole vector of units")

    def __setitem__(self, key, value):
        raise fail("a symbol cannot be written to: it stands for a vector of units; give a new value a new name")

    def __len__(self):
        raise fail("the number of units is not known while the step is traced: size(a) stands for it")

    def __mod__(self, other):
        raise fail("there is no division with remainder in the language of steps")

    __rmod__ = __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = __mod__

    def __matmul__(self, other):
        raise fail("write an affine map as w.name(x, h): there is no `@` between symbols")

    __rmatmul__ = __matmul__

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise fail(f"a symbol has no attribute {name!r}: use the functions of rnncore.lang")


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
        if getattr(_pinned, "tracing", False) and isinstance(other, (Node, int, float)) and other is not self:
            return self._op("eq", self, other)
        return self is other

    def __ne__(self, other):
        if getattr(_pinned, "tracing", False) and isinstance(other, (Node, int, float)):
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
        self.before = getattr(_pinned, "tracing", False)
        _pinned.tracing = True

    def __exit__(self, *exc):
        _pinned.tracing = self.before


class Graph:
    """The table of nodes: the same op of the same arguments is the same node."""

    def __init__(self):
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


_ASSIGNED = re.compile(r"^\s*([A-Za-z_]\w*)\s*=(?!=)")


# what stands around a leaf's name
_OF_KIND = {"adj": ("d", ""), "out": ("d", ""), "grad": ("d", ""), "next": ("", "_next")}


def author_names(order: list[Node]) -> dict[int, str]:
    """Names for printing: the author's variable where there is one, else ``v<i>``."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for node in order:
        base = node.graph.names.get(node.id, f"v{len(names)}")
        if node.op == "leaf" and node.id not in node.graph.names:
            before, after = _OF_KIND.get(node.attrs[0], ("", ""))
            base = before + re.sub(r"\W", "_", node.attrs[1]) + after
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names[node.id] = name
    return names


def format_graph(roots: dict[str, Node], with_lines: bool = True) -> str:
    """The graph as text, one statement a line, with shapes and the author's lines."""
    order = topological(roots.values())
    names = author_names(order)
    lines = []
    for node in order:
        shape = "(" + ", ".join(str(d) for d in node.shape) + ")"
        attrs = ", ".join(str(a) for a in node.attrs)
        body = ", ".join(names[a.id] for a in node.args)
        text = f"{names[node.id]}: {shape} = {node.op}"
        text += (f"[{attrs}]" if attrs else "") + (f"({body})" if body else "")
        if with_lines and node.origin is not None:
            text = f"{text:<60}  # {os.path.basename(node.origin[0])}:{node.origin[1]}"
        lines.append(text)
    lines += [f"return {key} = {names[node.id]}" for key, node in roots.items()]
    return "\n".join(lines)


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
