"""Evaluate a graph with NumPy: one node after another, in float64 or complex128 (or what the arrays are).

A step-level value carries a leading axis of rows (sequences): a vector is (rows, size), a scalar
(rows,). A call-level value has just its own axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..lang.graph import Node, topological
from ..lang.ops import OPS

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
    if node.op == "sum" or node.op == "rmax":
        args = [_filled(args[0], node.args[0], sizes)]
    if OPS[node.op].pointwise and len(node.shape) == 1:
        args = [a[:, None] if n.level == "step" and n.shape == () else a for a, n in zip(args, node.args)]
    return OPS[node.op].numpy(*args)


def _filled(a, node: Node, sizes):
    """A vector that was computed from scalars alone, at its full size."""
    want = sizes[node.shape[0]]
    return a if a.shape[-1] == want else np.broadcast_to(a, (*a.shape[:-1], want))


def _matmul(matrix, vector, matrix_level: str, vector_level: str):
    if matrix_level == "call" and vector_level == "step":
        return vector @ matrix.T
    return np.matmul(matrix, vector[..., None])[..., 0]
