"""A scorer of attention is its equation for one query and one key, traced like a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache

from ..errors import LanguageError
from .component import WithOptions
from .dims import Dim
from .graph import Graph, Node
from .origin import fail, pinned_origin
from .trace import Signature, Step, resolve, run_traced
from .weights import Weights

__all__ = ["Scorer", "scorer"]

ARGUMENTS = ("q", "k", "position")


class Scorer(WithOptions):
    """What ``@scorer`` returns. Called with options it gives a scorer with these options."""

    kind = "scorer"

    def step(self, **options) -> Step:
        """The traced equation: inputs among ``q``, ``k``, ``position``; root ``y`` is the score, a scalar."""
        return _traced(self, tuple(sorted(self.complete(options).items())))


def scorer(fn: Callable) -> Scorer:
    """Make a scorer of the equation of one query and one key.

    Parameters
    ----------
    fn : callable
        ``fn(w, q, k, position, *, option=default)``: the weights, then those of query, key and position (a
        scalar) that the score reads, by these names. It returns the score, a scalar.

    Examples
    --------
    >>> from rnncore.lang import dot, scorer, tanh
    >>> @scorer
    ... def additive(w, q, k):
    ...     return dot(w.v, tanh(w.a(q, k)))
    >>> [p.name for p in additive.step().params]
    ['W_qa', 'W_ka', 'b_a', 'v']
    """
    made = Scorer(fn)
    _arguments(fn)
    return made


def _arguments(fn: Callable) -> tuple[str, ...]:
    names = [p.name for p in inspect.signature(fn).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    wrong = [n for n in names if n not in ARGUMENTS]
    if wrong or not names:
        got = f"got {wrong[0]!r}" if wrong else "got none of them"
        origin = fn.__code__.co_filename, fn.__code__.co_firstlineno
        raise LanguageError(f"a scorer reads, after the weights, some of {', '.join(ARGUMENTS)}; {got}", *origin)
    return tuple(names)


@lru_cache(maxsize=256)
def _traced(component: Scorer, options: tuple) -> Step:
    names = _arguments(component.fn)
    graph = Graph()
    dims = {n: Dim(symbols=[n]) for n in names if n != "position"}
    leaves = [graph.leaf("input", n, (dims[n],) if n in dims else (), "step") for n in names]
    weights = Weights(graph, ())
    score, origin = run_traced(graph, component.fn, weights, *leaves, **dict(options))
    with pinned_origin(origin):
        if not isinstance(score, Node) or score.shape != ():
            raise fail(f"scorer {component.name!r} must return one score, a scalar: reduce with dot() or sum()")
    return resolve(component.name, graph, Signature(names, ()), weights, {"y": score}, dims, True)
