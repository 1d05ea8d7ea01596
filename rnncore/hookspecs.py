"""What a plugin may register: each hook returns a list of components; `rnncore_defaults` a mapping.

A plugin is a module whose hooks are marked with `rnncore.hookimpl`; its distribution names the
module in the entry-point group ``rnncore``::

    [project.entry-points.rnncore]
    my_cells = "my_package.rnncore_plugin"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from .lang.component import Component

__all__ = ["hookimpl", "PROJECT", "KINDS"]

PROJECT = "rnncore"
hookimpl = pluggy.HookimplMarker(PROJECT)
_hookspec = pluggy.HookspecMarker(PROJECT)


@_hookspec
def rnncore_cells() -> list[Component]:  # type: ignore[empty-body]
    """Cells, made with ``rnncore.lang.cell``: the equations of one step.

    Examples
    --------
    >>> from rnncore import hookimpl
    >>> from rnncore.lang import cell, tanh
    >>> @cell
    ... def plain_tanh(w, x, h):
    ...     return tanh(w.h(x, h))
    >>> @hookimpl
    ... def rnncore_cells():
    ...     return [plain_tanh]
    """


@_hookspec
def rnncore_topologies() -> list[Component]:  # type: ignore[empty-body]
    """Topologies, made with ``rnncore.combine.topology``: how blocks are wired and combined.

    Examples
    --------
    >>> from rnncore import hookimpl
    >>> from rnncore.combine import topology
    >>> @topology
    ... def alone(block):
    ...     return block
    >>> @hookimpl
    ... def rnncore_topologies():
    ...     return [alone]
    """


@_hookspec
def rnncore_scorers() -> list[Component]:  # type: ignore[empty-body]
    """Scorers of attention, made with ``rnncore.lang.scorer``: the score of a query against a key.

    Examples
    --------
    >>> from rnncore import hookimpl
    >>> from rnncore.lang import dot, scorer
    >>> @scorer
    ... def product(w, q, k):
    ...     return dot(q, k)
    >>> @hookimpl
    ... def rnncore_scorers():
    ...     return [product]
    """


@_hookspec
def rnncore_losses() -> list[Component]:  # type: ignore[empty-body]
    """Losses, made with ``rnncore.lang.loss``: the loss of one step, which is differentiated.

    Examples
    --------
    >>> from rnncore import hookimpl
    >>> from rnncore.lang import loss, sum
    >>> @loss
    ... def quartic(o, target):
    ...     e = o - target
    ...     return sum(e * e * e * e)
    >>> @hookimpl
    ... def rnncore_losses():
    ...     return [quartic]
    """


@_hookspec
def rnncore_optimizers() -> list[Component]:  # type: ignore[empty-body]
    """Optimizers, made with ``rnncore.lang.optimizer``: one update of a flat vector.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import hookimpl
    >>> from rnncore.lang import optimizer
    >>> @optimizer
    ... def sign_descent(p, g, t, lr):
    ...     return (p - lr * np.sign(g),)
    >>> @hookimpl
    ... def rnncore_optimizers():
    ...     return [sign_descent]
    """


@_hookspec
def rnncore_schedules() -> list[Component]:  # type: ignore[empty-body]
    """Schedules, made with ``rnncore.lang.schedule``: a factor of the learning rate.

    Examples
    --------
    >>> from rnncore import hookimpl
    >>> from rnncore.lang import schedule
    >>> @schedule
    ... def halves(t, total):
    ...     return 1.0 if t < total / 2 else 0.5
    >>> @hookimpl
    ... def rnncore_schedules():
    ...     return [halves]
    """


@_hookspec
def rnncore_initializers() -> list[Component]:  # type: ignore[empty-body]
    """Initializers, made with ``rnncore.lang.initializer``: the first values of an array.

    Examples
    --------
    >>> from rnncore import hookimpl
    >>> from rnncore.lang import initializer
    >>> @initializer
    ... def small(shape, rng, *, scale=0.01):
    ...     return scale * rng.standard_normal(shape)
    >>> @hookimpl
    ... def rnncore_initializers():
    ...     return [small]
    """


@_hookspec
def rnncore_defaults() -> Mapping[str, Mapping[str, Any]]:  # type: ignore[empty-body]
    """What is used where a user says nothing, by topic; the engine itself names no component.

    Topic ``"command"``: keys are the long options of ``rnncore train`` without their dashes.
    Topic ``"translation"``: those of ``rnncore translate``, with the ``"direction"`` that its encoder's layer is put
    into, and its ``"topology"``, ``"loss"``, ``"optimizer"``, ``"schedule"`` and ``"clip"``.
    Topic ``"generation"``: those of ``rnncore generate``, with its ``"stack"``, ``"loss"``, ``"optimizer"``,
    ``"schedule"`` and ``"clip"``.
    Topic ``"initializer"``: the initializer of each role of parameters. A default that is given
    already stays.

    Examples
    --------
    >>> from rnncore import hookimpl
    >>> @hookimpl
    ... def rnncore_defaults():
    ...     return {"my-topic": {"width": 3}}
    """


#: The hook of each kind of component.
KINDS = {
    "cell": "rnncore_cells",
    "topology": "rnncore_topologies",
    "scorer": "rnncore_scorers",
    "loss": "rnncore_losses",
    "optimizer": "rnncore_optimizers",
    "schedule": "rnncore_schedules",
    "initializer": "rnncore_initializers",
}
