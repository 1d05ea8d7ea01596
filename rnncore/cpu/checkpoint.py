"""Gradient checkpointing on the CPU (see `rnncore.stretches`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import stretches
from ..layout import Layout
from .run import LoopTape, loop_forward, prepare

__all__ = ["CheckpointTape", "checkpointed_forward"]


@dataclass(eq=False)
class CheckpointTape(stretches.Stretches, LoopTape):
    """What BPTT needs of one layer, but for what each stretch of `every` steps gives again when it is run again."""

    every: int = 1
    starts: list[dict[str, np.ndarray]] = field(default_factory=list)

    prepare = staticmethod(prepare)
    loop_forward = staticmethod(loop_forward)

    @staticmethod
    def index(host: np.ndarray) -> np.ndarray:
        """`host` itself."""
        return host


def checkpointed_forward(
    every: int | str, layer, sizes: Mapping[Any, int], prepared, layout: Layout, xs, rows, state, out, tokens,
    sources=None, extras=None,
):  # fmt: skip
    """Run a layer forward and keep its states at every `every`-th step (see `loop_forward`)."""

    def make(steps: int) -> CheckpointTape:
        y_rows, dtype = rows if out is None else out[2], np.dtype(prepared.code.dtype)
        return CheckpointTape(layer, sizes, layout, dict(xs), rows, y_rows, {}, tokens, dtype, sources, every=steps)

    return stretches.checkpointed_forward(make, every, layout, prepared, state, out, extras)
