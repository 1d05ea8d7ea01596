"""Run an author's step once, on symbols, and keep what it computed."""

from __future__ import annotations

import difflib
import inspect
import os
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import LanguageError, RnncoreError
from . import functions
from .dims import Dim, Origin
from .graph import Graph, Node, tracing
from .graph import match as match_dims
from .ops import as_node, as_number
from .origin import author_line, fail, pinned_origin
from .step import Signature, Step, resolve
from .weights import Weights

__all__ = ["Signature", "Step", "trace", "signature_of", "constant", "current_graph", "resolve", "run_traced"]

class _Active(threading.local):
    """The graphs of the steps being traced in this thread, the innermost last."""

    def __init__(self):
        self.graphs: list[Graph] = []


_active = _Active()


def current_graph() -> Graph:
    """The graph of the step that is being traced in this thread.

    Raises
    ------
    LanguageError
        None is.
    """
    if not _active.graphs:
        raise fail("this function has a meaning only inside a step that is being traced")
    return _active.graphs[-1]


def constant(array) -> Node:
    """A fixed array (a vector or a matrix) as part of the equations.

    Parameters
    ----------
    array : array_like, (n,) or (n, m)
        Finite real numbers. Its size is then fixed.
    """
    given = np.asarray(array)
    if given.dtype.kind == "c":
        raise fail("constant() takes real numbers, got complex ones: write real and imaginary parts as two arrays")
    if isinstance(array, np.ndarray) and np.ma.is_masked(array):
        raise fail("constant() takes numbers, got masked elements, which have none: fill them")
    value = given.astype(np.float64)
    if value.ndim not in (1, 2):
        raise fail(f"constant() takes a vector or a matrix, got an array of {value.ndim} axes")
    if not np.isfinite(value).all():
        raise fail("constant() takes finite numbers, got NaN or an infinity")
    return current_graph().array(value)


def signature_of(fn: Callable) -> Signature:
    """Inputs and states by the names of the parameters (see `cell`)."""
    origin = (fn.__code__.co_filename, fn.__code__.co_firstlineno)
    parameters = list(inspect.signature(fn).parameters.values())
    if not parameters or parameters[0].kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD,):
        raise LanguageError("the first parameter of a step is the weights: def my_cell(w, x, h)", *origin)
    positional, further = [], []
    for p in parameters[1:]:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise LanguageError("a step cannot take *args or **kwargs: every state has a name", *origin)
        if p.kind is p.KEYWORD_ONLY:
            if p.default is p.empty:
                further.append(p.name)
        elif p.default is not p.empty:
            raise LanguageError(f"option {p.name!r} must stand after a bare `*`", *origin)
        else:
            positional.append(p.name)
    first = tuple(n for n in positional if n == "x")
    states = tuple(n for n in positional if n != "x")
    if not states:
        raise LanguageError("a step needs at least one state, such as h: def my_cell(w, x, h)", *origin)
    return Signature(first + tuple(further), states)


def trace(fn: Callable, options: Mapping[str, Any], wires: Mapping[str, tuple[str, ...]] | None = None) -> Step:
    """Trace the step `fn` with `options` chosen.

    Parameters
    ----------
    wires : mapping of str to tuple of str, optional
        By the name of an input or a state, the operands that affine maps take where they read it itself.
        Names that the step does not have become further inputs.

    Raises
    ------
    LanguageError
        The equations are wrong; the error points at the author's line.
    """
    wires = wires or {}
    signature = _with_inputs(signature_of(fn), fn, wires)
    graph = Graph()
    dims = {n: Dim(symbols=[n]) for n in signature.inputs} | {n: Dim() for n in signature.states}
    with pinned_origin((fn.__code__.co_filename, fn.__code__.co_firstlineno)):
        leaf = {n: graph.leaf("input", n, (dims[n],), "step") for n in signature.inputs}
        leaf |= {n: graph.leaf("state", n, (dims[n],), "step") for n in signature.states}
    fed = tuple(m for new in wires.values() for m in new)
    recurrent = (*signature.states, *(m for m in fed if m not in wires))
    weights = Weights(graph, recurrent, {leaf[n].id: (n, [(m, leaf[m]) for m in new]) for n, new in wires.items()})
    parameters = list(inspect.signature(fn).parameters.values())[1:]
    positional = [leaf[p.name] for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keyword = {p.name: leaf[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    returned, origin = run_traced(graph, fn, weights, *positional, **keyword, **options)
    for name, new in wires.items():
        if leaf[name].id not in weights.wired:
            new_ones = ", ".join(m for m in new if m != name)
            raise fail(f"no affine map of {fn.__name__} reads {name} itself: {new_ones} would enter nowhere", origin)
    with pinned_origin(origin):
        roots, separate = _returned(fn, returned, graph, leaf, signature.states)
    return resolve(fn.__name__, graph, signature, weights, roots, dims, separate)


def _with_inputs(signature: Signature, fn: Callable, wires: Mapping[str, tuple[str, ...]]) -> Signature:
    """The signature with what `wires` adds to the inputs."""
    own = (*signature.inputs, *signature.states)
    origin = (fn.__code__.co_filename, fn.__code__.co_firstlineno)
    for name in wires:
        if name not in own:
            names = ", ".join(own)
            raise fail(f"{fn.__name__} has no input or state {name!r} that could be rewired; it has {names}", origin)
    new = [m for old, several in wires.items() for m in several if m != old]
    clash = [m for m in new if m in own or new.count(m) > 1]
    if clash:
        raise fail(
            f"an operand {clash[0]!r} cannot be wired into {fn.__name__}, which has an input or a state of that name",
            origin,
        )
    return Signature((*signature.inputs, *new), signature.states)


def run_traced(graph: Graph, fn: Callable, *args, **kwargs) -> tuple[Any, Origin]:
    """Call an author's function on symbols; whatever it raises becomes a `LanguageError` at its own line."""
    _active.graphs.append(graph)
    lines = [line for _, _, line in fn.__code__.co_lines() if line]
    origin = (fn.__code__.co_filename, max(lines))
    try:
        with tracing():
            return fn(*args, **kwargs), origin
    except RnncoreError as error:
        if isinstance(error, LanguageError) and error.filename is None:
            raise LanguageError(error.message, *_last_line(error, fn)) from None
        raise
    except (Exception, SystemExit) as error:
        raise LanguageError(_in_words(error), *_last_line(error, fn)) from error
    finally:
        _active.graphs.pop()


def _in_words(error: BaseException) -> str:
    """What an author's line raised; a name that is not there is held against the functions of the language."""
    try:
        message = f"{type(error).__name__}: {error}"
    except Exception:  # an exception that cannot be printed
        return type(error).__name__
    name = getattr(error, "name", None)
    if isinstance(error, NameError) and name:
        near = difflib.get_close_matches(name, functions.__all__, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"its functions are: {', '.join(functions.__all__)}"
        return f"{name!r} is not defined here; if it is meant to be of rnncore.lang, {hint}"
    return message


def _last_line(error: BaseException, fn: Callable) -> Origin:
    mine = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not os.path.abspath(f.filename).startswith(mine)]
    if frames:
        return frames[-1].filename, frames[-1].lineno or 0
    return fn.__code__.co_filename, fn.__code__.co_firstlineno


def _returned(fn, returned, graph, leaf, states) -> tuple[dict[str, Node], bool]:
    several = len(states) > 1
    expected = f"the new states {', '.join(states)} in this order" if several else f"the new state {states[0]}"
    if returned is None:
        raise fail(f"{fn.__name__} returns nothing; return {expected}")
    values = list(returned) if isinstance(returned, (tuple, list)) else [returned]
    if len(values) not in (len(states), len(states) + 1):
        raise fail(f"{fn.__name__} returns {len(values)} values; return {expected}, or an output before them")
    separate = len(values) == len(states) + 1
    output = as_number(as_node(values.pop(0), graph)) if separate else None
    roots = {}
    for name, value in zip(states, values):
        node = as_number(as_node(value, graph))
        if len(node.shape) != 1:
            if len(node.shape) == 0:
                from .ops import apply

                node = apply("spread", node, leaf[name])
            else:
                raise fail(f"the new {name} must be a vector, got a matrix")
        match_dims(leaf[name].shape[0], node.shape[0], author_line())
        roots["next." + name] = node
    roots["y"] = output if output is not None else roots["next." + states[0]]
    if len(roots["y"].shape) != 1:
        raise fail("the output of a step must be a vector")
    return roots, separate
