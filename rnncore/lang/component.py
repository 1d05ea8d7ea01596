"""What an author writes and a plugin registers: a function of a few lines, with its kind and its options."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import linecache
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .origin import source_of

__all__ = ["Component", "Bound", "loss", "optimizer", "schedule", "initializer", "plain"]

_MAIN = "__main__"


def plain(value: Any) -> bool:
    """Whether `value` can be an option: JSON's scalars (numbers finite), chosen components and tuples of options."""
    if isinstance(value, Bound):
        return True
    if isinstance(value, tuple):
        return all(plain(v) for v in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


def _tuples(value: Any) -> Any:
    """Lists, as JSON gives them, as tuples; a component with its default options where it takes them by a call."""
    if isinstance(value, WithOptions):
        return value()
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True, eq=True)
class Component:
    """A named author's function of one kind (``cell``, ``topology``, ``loss``, ...).

    Two components are equal when they are the same function of the same module: a cell
    of a notebook that is run again replaces itself.
    """

    fn: Callable

    kind = "component"
    if TYPE_CHECKING:

        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self):
        object.__setattr__(self, "__doc__", self.fn.__doc__)  # help() shows the equations, not this class
        if self.module == _MAIN and not hasattr(self.fn, "_qualname"):  # the function is found where it is now
            self.fn._qualname = self.fn.__qualname__
            self.fn.__qualname__ += ".fn"

    @property
    def target(self) -> str:
        """Of a loss: ``"class"`` where targets are integer classes, ``"values"`` where they are numbers."""
        return getattr(self.fn, "target", "values")

    @property
    def name(self) -> str:
        return self.fn.__name__

    @property
    def module(self) -> str:
        return self.fn.__module__

    @property
    def qualname(self) -> str:
        return getattr(self.fn, "_qualname", self.fn.__qualname__)

    @property
    def filename(self) -> str:
        return self.fn.__code__.co_filename

    @property
    def lineno(self) -> int:
        """The line of ``def``, below its decorators."""
        first = self.fn.__code__.co_firstlineno
        for line in range(first, first + 20):
            if linecache.getline(self.filename, line).lstrip().startswith(("def ", "lambda")):
                return line
        return first

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.fn) or "").strip().split("\n")[0]

    @cached_property
    def options(self) -> dict[str, Any]:
        """Option names and their defaults: the keyword-only parameters with one."""
        parameters = inspect.signature(self.fn).parameters.values()
        return {
            p.name: p.default
            for p in parameters
            if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
        }

    @property
    def source(self) -> str:
        """The author's text."""
        return source_of(self.fn)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the compiled function: changes when its code does, not when it moves."""
        return hashlib.sha256(_code_text(self.fn.__code__).encode()).hexdigest()[:16]

    def complete(self, options: dict[str, Any]) -> dict[str, Any]:
        """`options` checked against the declared ones, lists made tuples, defaults filled in."""
        unknown = [o for o in options if o not in self.options]
        if unknown:
            known = ", ".join(self.options) or "none"
            raise InputError(f"{self.kind} {self.name!r} has no option {unknown[0]!r}; its options are: {known}")
        given = {k: _tuples(v) for k, v in options.items()}
        for key, value in given.items():
            if not plain(value):
                raise InputError(
                    f"option {key!r} of {self.kind} {self.name!r} must be a finite number, a string, a bool, None "
                    f"or a tuple of such, got {value!r}"
                )
        return {**self.options, **given}

    def __repr__(self) -> str:
        options = "".join(f", {k}={v!r}" for k, v in self.options.items())
        return f"<{self.kind} {self.name}{options}: {self.summary}>"

    def __reduce__(self):
        spec = getattr(sys.modules.get(self.module), "__spec__", None)
        listed = self.module == _MAIN or (spec is not None and importlib.util.find_spec(self.module) is not None)
        if "<" in self.qualname or not listed:
            raise InputError(
                f"{self.kind} {self.name!r} of {self.filename} cannot be pickled: another process could not find it; "
                "define it at the top level of a module that can be imported"
            )
        if self.module == _MAIN:  # picklers that know how, as joblib's, take the function with them
            return _made_of, (type(self), self.fn)
        return _find, (self.module, self.qualname)


@dataclass(frozen=True)
class Bound:
    """A component with its options chosen, such as ``losses.huber(delta=2.0)``."""

    component: Component
    items: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        return self.component.name

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.items)

    def describe(self) -> dict[str, Any]:
        """Name and options as plain JSON."""
        return {"name": self.name, "options": self.options}

    @property
    def fingerprint(self) -> str:
        """A hash of the component's equations with these options."""
        return self.component.fingerprint

    def __call__(self, *args, **kwargs):
        return self.component.fn(*args, **kwargs, **self.options)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.items)})"


class WithOptions(Component):
    """A component whose call chooses its options."""

    def __call__(self, **options) -> Bound:
        return Bound(self, tuple(self.complete(options).items()))

    def __hash__(self):
        return hash(self.fn)


class Loss(WithOptions):
    kind = "loss"


class Optimizer(WithOptions):
    kind = "optimizer"


class Schedule(WithOptions):
    kind = "schedule"


class Initializer(WithOptions):
    kind = "initializer"


def loss(fn: Callable | None = None, *, target: str = "values"):
    """Make a loss of a function ``(o, target, *, options) -> scalar`` in the language of steps.

    Parameters
    ----------
    fn : callable
        Reads the network's output ``o`` and ``target``, both vectors (outputs,), and returns
        the loss of one step of one sequence, a scalar. It is traced: its derivative is free.
    target : {"values", "class"}
        With ``"class"`` the caller gives integers and the equation sees them one-hot.

    Examples
    --------
    >>> from rnncore.lang import loss, mean
    >>> @loss
    ... def log_cosh(o, target):
    ...     from rnncore.lang import softplus
    ...     e = o - target
    ...     return mean(e + softplus(-2 * e))
    >>> log_cosh.name
    'log_cosh'
    """
    if fn is None:
        return lambda f: loss(f, target=target)
    if target not in ("values", "class"):
        raise InputError(f"target must be 'values' or 'class', got {target!r}")
    fn.target = target  # type: ignore[attr-defined]
    return Loss(fn)


def optimizer(fn: Callable) -> Optimizer:
    """Make an optimiser of NumPy equations ``(p, g, t, lr, *slots, options) -> (p, *slots)``.

    ``p``, ``g`` and every slot are flat vectors of one length and dtype; slots start at zero
    and carry the names of the positional parameters after ``lr``; ``t`` counts updates from 1;
    ``lr`` is the scheduled learning rate. Nothing is written in place.
    """
    return Optimizer(fn)


def schedule(fn: Callable) -> Schedule:
    """Make a schedule of a function ``(t, total, *, options) -> factor`` of the learning rate.

    ``t`` counts updates from 0, ``total`` is the planned number of updates.
    """
    return Schedule(fn)


def initializer(fn: Callable) -> Initializer:
    """Make an initialiser of a function ``(shape, rng, *, options) -> array`` (float64).

    One whose first argument is called ``shapes`` sets several arrays of a layer together: it is given a mapping from
    name to shape of the layer's arrays of one role, and returns those that it sets, by name. They take the place of
    what the equations say.
    """
    return Initializer(fn)


def _code_text(code) -> str:
    """A stable text of a code object: names, constants and instructions, no file and no lines."""
    constants = [_code_text(c) if inspect.iscode(c) else repr(c) for c in code.co_consts[1:]]
    first = code.co_consts[0] if code.co_consts else None
    if not isinstance(first, str):  # a leading string is the docstring
        constants.insert(0, _code_text(first) if inspect.iscode(first) else repr(first))
    return "|".join([code.co_code.hex(), ",".join(code.co_names), ",".join(code.co_varnames), *constants])


def _made_of(kind: type[Component], fn: Callable) -> Component:
    """A component of the program's or notebook's own: that which is there, if it is the same."""
    made = kind(fn)
    found = getattr(sys.modules[_MAIN], made.qualname, None)
    return found if type(found) is kind and found.fingerprint == made.fingerprint else made


def _find(module: str, qualname: str):
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        if not hasattr(found, part):
            raise InputError(
                f"this process has no {qualname!r} in its module {module!r}, of which a pickle tells: define it at the "
                "top level of a module that both processes can import"
            )
        found = getattr(found, part)
    return found
