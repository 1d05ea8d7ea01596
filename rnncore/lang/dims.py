"""Sizes of axes while a step is traced: unknowns that operations make equal.

A size is free until an operation ties it to another one. A free size that stays free is
``units``; a size may also be that of an input, or a number given by ``size=``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import LanguageError

__all__ = ["Dim", "POSITION", "UNITS", "unify"]

UNITS = "units"
POSITION = "position"  # the steps of another sequence, as many as that sequence has
Origin = tuple[str, int]


@dataclass(eq=False)
class Dim:
    """An axis size under unification; `symbols` are inputs whose size it is, `number` a fixed size."""

    symbols: list[str] = field(default_factory=list)
    number: int | None = None
    origin: Origin | None = None
    parent: Dim | None = None

    def root(self) -> Dim:
        at = self
        while at.parent is not None:
            at = at.parent
        return at

    @property
    def resolved(self) -> str | int:
        root = self.root()
        if root.number is not None:
            return root.number
        return root.symbols[0] if root.symbols else UNITS

    def __str__(self) -> str:
        return str(self.resolved)


def unify(a: Dim, b: Dim, origin: Origin | None) -> None:
    """Make two sizes one.

    Raises
    ------
    LanguageError
        If both are fixed, to different numbers.
    """
    p, q = a.root(), b.root()
    if p is q:
        return
    if p.number is not None and q.number is not None and p.number != q.number:
        raise LanguageError(
            f"sizes differ: {p.number} and {q.number}; a pointwise operation or a returned state needs equal sizes",
            *(origin or (None, None)),
        )
    fixed = p.symbols or p.number is not None, q.symbols or q.number is not None
    if fixed[0] != fixed[1] or p.origin is None and q.origin is None:
        p.origin = p.origin or q.origin or origin
    q.parent = p
    p.symbols += [s for s in q.symbols if s not in p.symbols]
    p.number = p.number if p.number is not None else q.number
    p.origin = p.origin or q.origin
