"""Losses of many rows in compiled code: a step without states over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from .backends import Backend
from .lang.component import Bound
from .lang.graph import Graph
from .lang.trace import Signature, Step, resolve
from .lang.weights import Weights
from .layout import Rows, layout_of

__all__ = ["loss_of_rows", "loss_step"]

_RUN = 64  # rows that the loop takes for the steps of one sequence

Equations = Callable[[Bound, Graph], tuple]


@dataclass(frozen=True, eq=False)
class _Rowwise:
    """A step in the place of a layer."""

    step: Step


@lru_cache(maxsize=64)
def loss_step(loss: Bound, equations: Equations) -> Any:
    """The step whose output is the loss's gradient and whose further output is its value.

    `equations` gives value and gradient in a graph, and the sizes of the inputs ``o`` and ``target`` that they read.
    """
    graph = Graph(scalar_inputs=False)
    value, gradient, size, width = equations(loss, graph)
    roots = {"y": gradient, "out.value": value}
    signature, dims = Signature(("o", "target"), ()), {"o": size, "target": width}
    step = resolve(loss.name, graph, signature, Weights(graph, ()), roots, dims, True)
    return _Rowwise(step=replace(step, extras=("value",)))


def loss_of_rows(layer: Any, o: np.ndarray, target: np.ndarray, backend: Backend) -> tuple[np.ndarray, np.ndarray]:
    """Value (rows,) and gradient (rows, outputs) in the dtype of `o`; both arguments C-contiguous."""
    n, outputs = o.shape
    step, dtype = layer.step, str(o.dtype)
    sizes = {step.dims["o"]: outputs, **{d: d for d in step.size_symbols if isinstance(d, int)}}
    prepared = backend.prepare(layer, "infer", {}, sizes, dtype)
    base = np.arange(0, n, _RUN, dtype=np.int64)
    layout = layout_of(np.minimum(_RUN, n - base), False)
    gradient, value = backend.empty((n, outputs), o.dtype), backend.empty((n, 1), o.dtype)
    xs, rows = {"o": o, "target": target}, Rows(base, 1)
    backend.loop_forward(layer, sizes, prepared, layout, xs, rows, {}, (gradient, 0, rows), False, False,
                         extras={"value": value})  # fmt: skip
    prepared.weights.release()
    return value[:, 0], gradient
