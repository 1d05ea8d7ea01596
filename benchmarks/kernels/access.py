"""What an access to memory takes: wavefronts of the load unit, and the sectors that it touches."""

from __future__ import annotations

import re

import numpy as np

__all__ = ["SECTOR", "WARP", "banks", "bytes_of", "sectors"]

WARP, SECTOR, LINE = 32, 32, 128
KEY = 44  # bits of a sector's or a word's number


def bytes_of(op: str) -> int:
    """Of one thread's access."""
    size = int(re.search(r"(\d+)$", op)[1]) // 8
    return size * (4 if ".v4." in op else 2 if ".v2." in op else 1)


def banks(warps, address, width: int, many: int) -> np.ndarray:
    """Wavefronts of each warp: words of one bank come one after another."""
    words = np.concatenate([address // 4 + k for k in range(width // 4)])
    keys = np.unique((np.tile(warps, width // 4) << KEY) + words)
    spread = np.bincount((keys >> KEY) * WARP + keys % WARP, minlength=many * WARP)
    return spread.reshape(many, WARP).max(1).astype(float)


def sectors(warps, address, many: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavefronts of each warp, a line after another, and the sectors with the warps that touch them."""
    keys = np.unique((warps << KEY) + address // SECTOR)
    lines = np.unique(keys // (LINE // SECTOR)) >> KEY - 2
    return np.bincount(lines, minlength=many), keys & (1 << KEY) - 1, keys >> KEY
