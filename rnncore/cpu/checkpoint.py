"""Gradient checkpointing on the CPU (see `rnncore.stretches`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..stretches import Stretches
from .run import LoopTape, loop_forward, prepare

__all__ = ["CheckpointTape", "checkpointed_forward"]


@dataclass(eq=False)
class CheckpointTape(Stretches, LoopTape):
    """What BPTT needs of one layer, but for what each stretch of `every` steps gives again when it is run again."""

    every: int = 1
    starts: list[dict[str, np.ndarray]] = field(default_factory=list)

    prepare = staticmethod(prepare)
    loop_forward = staticmethod(loop_forward)

    @classmethod
    def begun(cls, prepared, **given: Any) -> CheckpointTape:
        """A tape of which nothing is kept yet."""
        return cls(buffers={}, **given)

    @staticmethod
    def index(host: np.ndarray) -> np.ndarray:
        """`host` itself."""
        return host


checkpointed_forward = CheckpointTape.forward
