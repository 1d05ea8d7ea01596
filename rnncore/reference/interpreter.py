"""Evaluate a graph with NumPy: one node after another, in float64 or complex128 (or what the arrays are).

A step-level value carries a leading axis of rows (sequences): a vector is (rows, size), a scalar
(rows,). A call-level value has just its own axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..lang.dims import POSITION
from ..lang.graph import Node, topological
from ..lang.ops import OPS, SHAPED

__all__ = ["Program", "evaluate"]


class Program:
    """Roots put in order once, to be evaluated many times."""

    def __init__(self, roots: Mapping[str, Node]):
        self.roots = dict(roots)
        self.order = topological(self.roots.values())

    def __call__(self, leaves: Mapping[tuple[str, str], np.ndarray], sizes: Mapping[Any, int]) -> dict[str, np.ndarray]:
        """Values of the roots (see `evaluate`)."""
        value: dict[int, np.ndarray] = {}
        with np.errstate(all="ignore"):
            for node in self.order:
                value[node.id] = _node(node, value, leaves, sizes)
        return {key: value[node.id] for key, node in self.roots.items()}


def evaluate(
    roots: Mapping[str, Node], leaves: Mapping[tuple[str, str], np.ndarray], sizes: Mapping[Any, int]
) -> dict[str, np.ndarray]:
    """Values of `roots`.

    Parameters
    ----------
    roots : mapping of str to Node
    leaves : mapping
        (kind, name) of each leaf to its array.
    sizes : mapping
        Numbers of the size symbols.
    """
    return Program(roots)(leaves, sizes)


def _node(node: Node, value, leaves, sizes) -> Any:
    if node.op == "const":
        return np.float64(node.value)
    if node.op == "leaf" and node.attrs[0] == "like":
        return None
    if node.op == "leaf":
        array = leaves[node.attrs]
        return array[:, 0] if node.shape == () and node.level == "step" and array.ndim == 2 else array
    if node.op == "array":
        return leaves[("array", node.attrs[0])]
    if node.op == "size":
        return np.float64(sizes[node.attrs[0]])
    args = [value[a.id] for a in node.args]
    if node.op == "matmul":
        return _matmul(args[0], args[1], node.args[0].level, node.args[1].level)
    if node.op == "matmul_t":
        return _matmul(np.swapaxes(args[0], -1, -2), args[1], node.args[0].level, node.args[1].level)
    if node.op == "outer":
        return args[0][..., :, None] * args[1][..., None, :]
    if node.op in SHAPED:
        return _spread(node, args[0], sizes, leaves)
    if node.op in ("sum", "rmax", "psum"):
        args = [_filled(args[0], node.args[0], node.op, leaves, sizes)]
    if OPS[node.op].pointwise and node.shape:
        axes = (slice(None), *[None] * len(node.shape))
        args = [a[axes] if n.level == "step" and n.shape == () else a for a, n in zip(args, node.args)]
    return OPS[node.op].numpy(*args)


def _spread(node: Node, a, sizes, leaves):
    """A value repeated along the axis that it lacks; along positions as often as the longest sequence needs."""
    if node.op == "along":
        return a[..., None, :]
    if isinstance(a, np.generic):  # a constant becomes an array where the others are
        like = next(iter(leaves.values()), a)
        host = isinstance(like, (np.ndarray, np.generic))
        a = np.asarray(a) if host else np.full_like(like, a, dtype=a.dtype, shape=(1,)).reshape(())
    if node.op == "over":
        return a[..., None]
    wide = a.reshape(*a.shape, *[1] * len(node.shape))
    return np.broadcast_to(wide, (*a.shape, *(sizes[d] for d in node.shape)))


def _filled(a, node: Node, op: str, leaves, sizes):
    """What is reduced, at its full size, without the positions past the end of each sequence."""
    units = node.shape[-1] if op != "psum" and node.shape[-1] != POSITION else None
    if units is not None and a.shape[-1] != sizes[units]:
        a = np.broadcast_to(a, (*a.shape[:-1], sizes[units]))
    if POSITION not in node.shape or (op != "psum" and units is not None):
        return a
    inside = np.arange(sizes[POSITION]) < leaves["position", "count"][:, None]
    return np.where(inside[..., None] if op == "psum" else inside, a, -np.inf if op == "rmax" else 0)


def _matmul(matrix, vector, matrix_level: str, vector_level: str):
    if matrix_level == "call" and vector_level == "step":
        return vector @ matrix.T
    return np.matmul(matrix, vector[..., None])[..., 0]
