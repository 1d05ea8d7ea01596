"""Gradient checkpointing on the device (see `rnncore.stretches`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import stretches
from ..layout import Layout
from .run import LoopTape, loop_forward, prepare
from .space import put
from .weights import Prepared

__all__ = ["CheckpointTape", "checkpointed_forward"]


@dataclass(eq=False)
class CheckpointTape(stretches.Stretches, LoopTape):
    """What BPTT needs of one layer, but for what each stretch of `every` steps gives again when it is run again."""

    every: int = 1
    starts: list[dict[str, Any]] = field(default_factory=list)

    loop_forward = staticmethod(loop_forward)

    def prepare(self, layer, which: str, params: Mapping[str, Any], sizes: Mapping[Any, int], dtype: str) -> Prepared:
        """Kernels and packed weights, which round as those of the tape."""
        return prepare(layer, which, params, sizes, dtype, rounding=self.rounding)

    @staticmethod
    def index(host: np.ndarray) -> Any:
        """A copy of `host` on the device."""
        return put(host)


def checkpointed_forward(
    every: int | str, layer, sizes: Mapping[Any, int], prepared, layout: Layout, xs, rows, state, out, tokens,
    sources=None, extras=None,
):  # fmt: skip
    """Run a layer forward and keep its states at every `every`-th step (see `loop_forward`)."""

    def make(steps: int) -> CheckpointTape:
        y_rows, dtype = rows if out is None else out[2], np.dtype(prepared.code.dtype)
        tape_of = (layer, sizes, layout, dict(xs), rows, y_rows, None, tokens, dtype, sources, prepared.rounding)
        return CheckpointTape(*tape_of, every=steps)

    return stretches.checkpointed_forward(make, every, layout, prepared, state, out, extras)
