"""The shapes that ops give: rules ``(node or None, *argument shapes) -> shape``, which unify sizes as they go."""

from __future__ import annotations

from .dims import POSITION
from .drawing import DRAW
from .graph import match
from .origin import author_line, fail

__all__ = [
    "along", "drawn", "is_position", "matmul", "matmul_t", "over", "pointwise", "positions_reduced", "reduced",
    "transposed",
]  # fmt: skip


def drawn(node, a, how):
    """Of a draw by `how`: that of the scores."""
    origin = node.origin if node is not None else author_line()
    match(how[0], DRAW, origin)
    return a


def pointwise(node, *shapes):
    """Of values combined element by element; a scalar goes with every shape."""
    rank = max(len(s) for s in shapes)
    full = [s for s in shapes if len(s) == rank]
    for s in shapes:
        if len(s) not in (0, rank):
            raise fail("a vector and a matrix cannot be combined pointwise")
    for s in full[1:]:
        for a, b in zip(full[0], s):
            match(a, b, node.origin if node is not None else author_line())
    return full[0]


def reduced(node, a):
    """Of a reduction over units: a scalar, or one number a position."""
    if len(a) == 2 and is_position(a[0]):
        return a[:1]
    if len(a) != 1:
        raise fail("a reduction over units needs a vector, got " + ("a scalar" if not a else "a matrix"))
    return ()


def is_position(dim) -> bool:
    """Whether an axis counts positions."""
    return str(dim) == POSITION


def along(node, a, like):
    """Of `a` at every position of `like`."""
    return (like[0], *a)


def over(node, a, like):
    """Of `a` at every unit of `like`."""
    return (a[0], like[1])


def positions_reduced(node, a):
    """Of a sum over positions."""
    return a[1:]


def matmul(node, a, b):
    """Of a product with a matrix."""
    if (len(a), len(b)) != (2, 1):
        raise fail("`@` multiplies a fixed matrix by a vector, constant(A) @ h; an affine map is written w.name(x, h)")
    match(a[1], b[0], node.origin if node is not None else author_line())
    return (a[0],)


def matmul_t(node, a, b):
    """Of a product with a transposed matrix."""
    match(a[0], b[0], node.origin if node is not None else author_line())
    return (a[1],)


def transposed(node, a):
    """Of a matrix with its axes swapped."""
    if len(a) != 2:
        raise fail(
            f"only a matrix has a transpose, got a {'vector' if a else 'scalar'}; each of the states is a vector, "
            "and dot(a, b) the product of two"
        )
    return a[1], a[0]
