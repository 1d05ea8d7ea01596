"""The simulated thread that runs, and what it hands over where it waits."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

__all__ = ["WARP", "Lane", "now"]

WARP = 4  # threads that run in step: fewer than on a device, whose blocks have more
now = SimpleNamespace(block=0, thread=0, threads=1, blocks=1, shared=None, lanes=[])  # for the simulator to set


@dataclass(frozen=True)
class Lane:
    """What a lane hands over to the others of its warp, when all `many` are there."""

    value: Any
    many: int = WARP
