"""``w``: what an author takes learned numbers from, and how an operand is multiplied by them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .dims import Dim, Origin
from .graph import Graph, Node, match
from .ops import apply, as_node
from .origin import author_line, fail
from .symbols import Arithmetic

__all__ = ["Weights", "Parameter", "diag", "low_rank", "mapped", "scalar", "identity"]


@dataclass(frozen=True)
class Parameter:
    """A learned array: its name, its symbolic shape, its role, and how it starts.

    ``role`` is ``"input"``, ``"recurrent"``, ``"diagonal"``, ``"bias"``, ``"vector"`` or ``"scalar"``;
    ``start`` is a number, the name of an initialiser, or None for the role's default.
    """

    name: str
    shape: tuple[Any, ...]
    role: str
    start: Any = None
    origin: Origin | None = None


Wire = tuple[str, list[tuple[str, Node]]]  # a leaf's name, and the operands in its place


@dataclass(frozen=True)
class Operand:
    """An operand and the kind of matrix in front of it."""

    kind: str
    value: Any
    extra: Any = None


def diag(operand) -> Operand:
    """Multiply the operand by a learned vector instead of a matrix: ``w.i(x, h, c=diag(c))``."""
    return Operand("diag", operand)


def low_rank(operand, rank: int) -> Operand:
    """Multiply by U V with `rank` inner units: parameters ``U_<operand><name>`` and ``V_<operand><name>``."""
    if not isinstance(rank, int) or rank < 1:
        raise fail(f"the rank must be a positive integer, got {rank!r}")
    return Operand("low_rank", operand, rank)


def mapped(operand, f: Callable) -> Operand:
    """Multiply by f(W): `f` is traced on the raw matrix, runs once per call, and passes the gradient to W."""
    return Operand("mapped", operand, f)


def identity(matrix) -> Node:
    """The identity matrix of the shape of `matrix` (for the function of `mapped`)."""
    node = as_node(matrix, matrix.graph)
    return node.graph.make("eye", (node,), (), node.shape)


def scalar(source):
    """One number: ``scalar(w.alpha)`` learned, ``scalar(dt)`` an input, ``scalar(w.f(x, h))`` a vector of one unit."""
    if isinstance(source, Name):
        return source.as_scalar()
    if isinstance(source, Node) and len(source.shape) == 1:
        match(source.shape[0], Dim(number=1, origin=author_line()), author_line())
        if source.op == "leaf" and source.attrs[0] == "input" and source.graph.scalar_inputs:
            return source.graph.leaf("input", source.attrs[1], (), "step")
        return apply("sum", source)
    raise fail("scalar() takes w.name, a further input of a step, or a vector of one unit")


class Name(Arithmetic):
    """``w.name``: an affine map when called, a learned vector when used as a value."""

    __slots__ = ("weights", "name", "start")

    def __init__(self, weights: Weights, name: str, start=None):
        self.weights, self.name, self.start = weights, name, start

    def init(self, start) -> Name:
        """The same, starting from the number or the initialiser `start`."""
        return Name(self.weights, self.name, start)

    def _node(self) -> Node:
        return self.weights.parameter(("vector", self.name), "vector", (Dim(),), self.start)

    def as_scalar(self) -> Node:
        return self.weights.parameter(("scalar", self.name), "scalar", (), self.start)

    def __eq__(self, other):
        return self._op("eq", self, other)

    __hash__ = object.__hash__

    def __call__(self, /, *operands, bias: bool | float = True, init=None, size=None, **named) -> Node:
        """Sum of a matrix times each operand, plus a bias: ``W_xi x + W_hi h + b_i``."""
        given = [(_leaf_name(o), o) for o in operands] + list(named.items())
        if not given:
            raise fail(f"w.{self.name}() needs an operand; w.{self.name} alone is a learned vector")
        read = [self.weights.read(name, operand) for name, operand in given]
        pairs = [pair for several in read for pair in several]
        names = [n for n, _ in pairs]
        if len(set(names)) != len(names):
            raise fail(f"w.{self.name} is given the operand {max(names, key=names.count)!r} twice")
        out = self._size(size)
        start = init if init is not None else self.start
        if isinstance(start, float) and not math.isfinite(start):
            raise fail(f"init of w.{self.name} must be finite, got {start!r}")
        terms = [self._term(name, operand, out, start) for name, operand in pairs]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        if bias is not False:
            value = 0.0 if bias is True else bias
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                raise fail(f"bias of w.{self.name} must be True, False or a number that is finite, got {bias!r}")
            key = ("bias", self.name, tuple(several[0][0] for several in read))
            total = total + self.weights.parameter(key, "bias", (out,), None if bias is True else float(value))
        return total

    def _size(self, size) -> Dim:
        if size is None:
            return Dim()
        if isinstance(size, Node) and len(size.shape) == 1:
            return size.shape[0]
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise fail(f"size of w.{self.name} must be a positive integer or a vector of that size, got {size!r}")
        return Dim(number=size, origin=author_line())

    def _term(self, name: str, operand, out: Dim, start) -> Node:
        kind, value = "dense", operand
        extra: Any = None
        if isinstance(operand, Operand):
            kind, value, extra = operand.kind, operand.value, operand.extra
        if isinstance(value, (int, float, str)):
            raise fail(
                f"w.{self.name} cannot multiply {name}={value!r}: an operand is a symbol, "
                "and the words of an affine map are bias, init and size"
            )
        value = as_node(value, self.weights.graph)
        if len(value.shape) != 1:
            raise fail(f"operand {name!r} of w.{self.name} must be a vector, got a scalar")
        role = "recurrent" if name in self.weights.states else "input"
        make, inner = self.weights.parameter, value.shape[0]
        if kind == "diag":
            weight = make(("diag", self.name, name), "diagonal", (Dim(),), start)
            product = weight * value
            from .dims import unify

            unify(product.shape[0], out, author_line())
            return product
        if kind == "low_rank":
            rank = Dim(number=extra)
            left = make(("left", self.name, name), role, (out, rank), start)
            right = make(("right", self.name, name), role, (rank, inner), start)
            return apply("matmul", left, apply("matmul", right, value))
        weight = make(("matrix", self.name, name), role, (out, inner), start)
        if kind == "mapped":
            weight = extra(weight)
            if not isinstance(weight, Node) or weight.level != "call" or len(weight.shape) != 2:
                raise fail(f"the function of mapped({name}, f) must return a matrix made from the raw matrix alone")
        return apply("matmul", weight, value)


def _leaf_name(operand) -> str:
    value = operand.value if isinstance(operand, Operand) else operand
    if isinstance(value, Node) and value.op == "leaf":
        return value.attrs[1]
    if isinstance(value, Node):
        raise fail(
            "a computed operand needs a name, given by keyword: w.n(x, h=r * h) uses the matrix W_hn; "
            "only x, the states and the further inputs as they came in name themselves"
        )
    raise fail(f"an operand of an affine map must be a symbol, got {type(value).__name__}")


class Weights:
    """The learned numbers of one cell; parameters appear as they are first used.

    ``wires`` gives the operands that affine maps take where they read an input or a state itself: by the
    node id of that leaf their names and leaves; ``wired`` collects the leaves that were read so.
    """

    def __init__(self, graph: Graph, states: tuple[str, ...], wires: Mapping[int, Wire] | None = None):
        self.graph, self.states, self.wires = graph, states, dict(wires or {})
        self.wired: set[int] = set()
        self.made: dict[tuple, tuple[Node, Parameter]] = {}

    def __getattr__(self, name: str) -> Name:
        if name.startswith("__"):
            raise AttributeError(name)
        return Name(self, name)

    def __call__(self, *operands, **named):
        raise fail("an affine map has a name: w.n(x, h) uses the matrices W_xn and W_hn")

    def __getitem__(self, name: str) -> Name:
        if not isinstance(name, str) or not name.isidentifier():
            raise fail(f"a weight's name must be an identifier, got {name!r}")
        return Name(self, name)

    def read(self, name: str, operand) -> list[tuple[str, Any]]:
        """The operands, by name, that stand for `operand` in an affine map: itself, or what is wired in its place."""
        kind = operand if isinstance(operand, Operand) else None
        value = kind.value if kind else operand
        wire = self.wires.get(value.id) if isinstance(value, Node) else None
        if wire is None:
            if any(name == new and name != old for old, news in self.wires.values() for new, _ in news):
                raise fail(f"an operand {name!r} is wired into these equations, which have one of that name; rename it")
            return [(name, operand)]
        self.wired.add(value.id)
        old, several = wire
        return [
            (name if new == old else new, leaf if kind is None else Operand(kind.kind, leaf, kind.extra))
            for new, leaf in several
        ]

    def parameter(self, key: tuple, role: str, shape: tuple, start) -> Node:
        if key in self.made:
            node, known = self.made[key]
            for a, b in zip(node.shape, shape):
                match(a, b, author_line())
            if start is not None and known.start is not None and start != known.start:
                raise fail(f"{'.'.join(map(str, key[:2]))} starts once as {known.start!r} and once as {start!r}")
            if known.start is None and start is not None:
                self.made[key] = node, Parameter(known.name, known.shape, role, start, known.origin)
            return node
        node = self.graph.leaf("param", "|".join(map(str, key)), shape, "call")
        self.made[key] = node, Parameter("", shape, role, start, author_line())
        return node

    def final_names(self) -> dict[tuple, str]:
        """Names in the equations' letters: ``W_xi``, ``b_i``; ``b_xn`` where a name is called twice."""
        calls: dict[str, set] = {}
        for key in self.made:
            if key[0] == "bias":
                calls.setdefault(key[1], set()).add(key[2])
        names: dict[tuple, str] = {}
        for key, (_, parameter) in self.made.items():
            name = _spelled(key, calls)
            if name in names.values():
                raise fail(f"two different weights would both be called {name!r}; rename one", parameter.origin)
            names[key] = name
        return names


def _spelled(key: tuple, calls: dict[str, set]) -> str:
    kind, name = key[0], key[1]
    if kind == "bias":
        return f"b_{name}" if len(calls[name]) == 1 else f"b_{''.join(key[2])}{name}"
    letter = {"matrix": "W", "diag": "W", "left": "U", "right": "V"}.get(kind)
    return name if letter is None else f"{letter}_{key[2]}{name}"
