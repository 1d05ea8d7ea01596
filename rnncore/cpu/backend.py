"""The CPU as a backend (see `rnncore.backends.Backend`): arrays are NumPy's, and nothing needs to be moved."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from .back import loop_backward
from .checkpoint import checkpointed_forward
from .dense import affine, affine_backward
from .memory import empty, zeros
from .run import loop_forward, prepare

__all__ = [
    "affine", "affine_backward", "array_type", "beside", "check", "checkpointed_forward", "device", "empty", "get",
    "index", "loop_backward", "loop_forward", "prepare", "put", "xp", "zeros",
]  # fmt: skip

device = "cpu"
xp = np
array_type = np.ndarray


def check() -> None:
    """Nothing is in the way."""


def beside(*_: Any) -> AbstractContextManager[Callable[[], AbstractContextManager[None]]]:
    """Blocks run one after another: each has all threads."""
    return nullcontext(nullcontext)


def index(host: np.ndarray) -> np.ndarray:
    """`host` itself."""
    return host


put = get = index


def shown_as(value: Any) -> None:
    """Results are NumPy arrays as they are."""
    return None
