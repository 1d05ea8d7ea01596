"""Losses, optimizers and schedules as a caller names them: a name, a component, or one with options."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from ..lang.component import Bound, Component

__all__ = ["resolve"]


def resolve(kind: str, spec: Any) -> Bound:
    """The component of `kind` with its options.

    Parameters
    ----------
    kind : {"loss", "optimizer", "schedule"}
    spec : str, Component or Bound
        ``"adam"``, ``optimizers.adam`` or ``optimizers.adam(beta1=0.8)``.

    Raises
    ------
    InputError
        If `spec` is something else, of another kind, or an unknown name.
    """
    if isinstance(spec, str):
        from ..registry import current

        spec = current().get(kind, spec)
    bound = spec if isinstance(spec, Bound) else spec() if isinstance(spec, Component) else None
    if bound is None or bound.component.kind != kind:
        got = f"a {bound.component.kind}, {bound.name!r}" if bound else f"{type(spec).__name__} {spec!r}"
        raise InputError(f"{kind}: expected a name, a {kind} or a {kind} with options, got {got}")
    return bound
