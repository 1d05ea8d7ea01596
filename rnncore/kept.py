"""What a pass keeps of each block for the way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Kept"]


@dataclass(eq=False)
class Kept:
    """A block's part of the tape."""

    block: Any
    inner: list = field(default_factory=list)
    extra: dict = field(default_factory=dict)
