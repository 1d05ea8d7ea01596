"""A cell is its equations; a layer is a cell with units and options."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..arguments import whole
from ..errors import InputError, LanguageError
from ..forking import renewed
from .component import Component
from .dims import UNITS
from .trace import Step, signature_of, trace

__all__ = ["cell", "Cell", "Layer", "Stepped", "sizes_of"]


class Stepped(Protocol):
    """What a loop repeats: a layer, or several wired into one step."""

    @property
    def name(self) -> str: ...
    @property
    def step(self) -> Step: ...
    @property
    def members(self) -> tuple[tuple[str, Layer], ...]: ...


class Cell(Component):
    """What ``@cell`` returns. Called with a number of units it gives a layer."""

    kind = "cell"

    def __call__(self, units: int, **options) -> Layer:
        """A layer of `units` units of this cell.

        Parameters
        ----------
        units : int
            At least 1.
        **options
            The cell's own options.

        Raises
        ------
        InputError
            An option is unknown, or `units` is no positive integer.
        """
        number = whole(units, 1)
        if number is None:
            raise InputError(f"units of cell {self.name!r} must be a positive integer, got {units!r}")
        return Layer(self, number, tuple(self.complete(options).items()))

    def __hash__(self):
        return hash(self.fn)

    def step(self, **options) -> Step:
        """The traced step with `options` chosen; traced once and kept."""
        return _traced(self, tuple(sorted(self.complete(options).items())))

    def rewired(self, options: Mapping[str, Any], wires: Mapping[str, tuple[str, ...]]) -> Step:
        """The step with other operands in its affine maps (see `rnncore.lang.trace.trace`)."""
        return _traced(self, tuple(sorted(self.complete(dict(options)).items())), tuple(sorted(wires.items())))


@dataclass(frozen=True)
class Layer:
    """A recurrent layer: a cell, its number of units, its options. An immutable description."""

    cell: Cell
    units: int
    items: tuple[tuple[str, Any], ...]

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.items)

    @property
    def step(self) -> Step:
        """The traced step; kept with the layer, not part of its value."""
        found = self.__dict__.get("_step")
        if found is None:
            found = self.__dict__["_step"] = self.cell.step(**self.options)
        return found

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "_step"}

    def __setstate__(self, state):
        self.__dict__.update(state)

    @property
    def name(self) -> str:
        """The cell's."""
        return self.cell.name

    @property
    def members(self) -> tuple[tuple[str, Layer], ...]:
        """The layers whose equations the step holds, by the path prefix of their states: this one alone."""
        return (("", self),)

    @property
    def source(self) -> str:
        """The author's equations."""
        return self.cell.source

    def describe(self) -> dict[str, Any]:
        """The layer as plain JSON: names, options, and the hash of its graph."""
        return {
            "cell": self.cell.name,
            "units": self.units,
            "options": self.options,
            "graph": self.step.fingerprint,
        }

    def __repr__(self) -> str:
        changed = [f"{k}={v!r}" for k, v in self.items if v != self.cell.options[k]]
        return f"{self.cell.name}({', '.join([str(self.units), *changed])})"


def cell(fn: Callable) -> Cell:
    """Make a cell of the equations of one step.

    Parameters
    ----------
    fn : callable
        ``fn(w, x, h, ..., *, further_input, option=default)``: the weights; ``x``, by that name, if
        there is an input; one parameter per state. Keyword-only: a further per-step input without a
        default, an option with one. It returns the new states in order; one value more means that the
        first is an output apart from the states.

    Returns
    -------
    Cell
        Called with a number of units and options it gives a layer.

    Examples
    --------
    >>> from rnncore.lang import cell, sigmoid, tanh
    >>> @cell
    ... def mgu(w, x, h):
    ...     f = sigmoid(w.f(x, h))
    ...     n = tanh(w.n(x, h=f * h))
    ...     return (1 - f) * h + f * n
    >>> mgu(64)
    mgu(64)
    """
    if not inspect.isfunction(fn):
        raise InputError(f"@cell stands above a function, the equations of one step; got {type(fn).__name__}")
    signature_of(fn)
    return Cell(fn)


def sizes_of(layer: Stepped, given: Mapping[str, int]) -> dict[Any, int]:
    """Numbers for every size symbol of a layer's step.

    Parameters
    ----------
    layer : Layer or Wired
    given : mapping
        Features of each input by its name; inputs that the cell does not read are ignored.

    Raises
    ------
    InputError
        An input that the cell reads is not given.
    LanguageError
        Sizes that the equations make equal are given as different numbers.
    """
    step = layer.step
    missing = [n for n in step.inputs if n not in given]
    if missing:
        raise InputError(
            f"cell {layer.name!r} reads the input {missing[0]!r}; the network gives: {', '.join(given) or 'none'}"
        )
    sizes: dict[Any, int] = {prefix + UNITS: member.units for prefix, member in layer.members}
    sizes |= {n: given[n] for n in step.inputs + step.sources}
    symbols = step.size_symbols
    sizes |= {s: s for s in symbols if isinstance(s, int)}
    for a, b, origin in step.equal:
        if sizes[a] != sizes[b]:
            got, other = (f"{sizes[s]} (that of {s!r})" if isinstance(s, str) else str(s) for s in (a, b))
            raise LanguageError(
                f"sizes differ: {got} and {other}, which these equations make equal", *(origin or (None, None))
            )
    for prefix, member in layer.members:
        if prefix + UNITS not in symbols:
            _check_units(member, step, prefix + member.step.states[0], sizes)
    return sizes


def _check_units(layer: Layer, step: Step, first: str, sizes: Mapping[Any, int]) -> None:
    dim = step.dims[first]
    got, of = sizes[dim], f" (that of {dim!r})" if isinstance(dim, str) else ""
    if got != layer.units:
        raise LanguageError(
            f"{layer.units} units were asked for, but the equations of {layer.name!r} fix the size of the state "
            f"{first!r} to {got}{of}",
            *(step.fixed.get(first) or (layer.cell.filename, layer.cell.lineno)),
        )


_lock = renewed(threading.Lock())
_steps: dict[tuple, Step] = {}


def _traced(component: Cell, options: tuple, wires: tuple = ()) -> Step:
    key = (component.fn, tuple((k, type(v), v) for k, v in options), wires)
    found = _steps.get(key)
    if found is None:
        with _lock:
            found = _steps.get(key) or _steps.setdefault(key, trace(component.fn, dict(options), dict(wires)))
    return found
