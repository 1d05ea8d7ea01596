"""Gradient checkpointing on the device (see `rnncore.stretches`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..stretches import Stretches
from .run import LoopTape, loop_forward, prepare
from .space import put
from .weights import Prepared

__all__ = ["CheckpointTape", "checkpointed_forward"]


@dataclass(eq=False)
class CheckpointTape(Stretches, LoopTape):
    """What BPTT needs of one layer, but for what each stretch of `every` steps gives again when it is run again."""

    every: int = 1
    starts: list[dict[str, Any]] = field(default_factory=list)

    loop_forward = staticmethod(loop_forward)

    def prepare(self, layer, which: str, params: Mapping[str, Any], sizes: Mapping[Any, int], dtype: str) -> Prepared:
        """Kernels and packed weights, which round as those of the tape."""
        return prepare(layer, which, params, sizes, dtype, rounding=self.rounding)

    @classmethod
    def begun(cls, prepared, **given: Any) -> CheckpointTape:
        """A tape of which nothing is kept yet."""
        return cls(kept=None, rounding=prepared.rounding, **given)

    @staticmethod
    def index(host: np.ndarray) -> Any:
        """A copy of `host` on the device."""
        return put(host)


checkpointed_forward = CheckpointTape.forward
