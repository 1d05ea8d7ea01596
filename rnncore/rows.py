"""Outputs in rows of larger arrays: (array, first column, rows)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .lang.trace import Step

__all__ = ["add", "beside", "last_rows", "put"]


def put(out, rows: np.ndarray, lengths) -> None:
    """Write rows, sequence by sequence, to where an output goes."""
    out[0][out[2].index(lengths), out[1] : out[1] + rows.shape[1]] = rows


def add(out, rows: np.ndarray, lengths) -> None:
    """Add rows, sequence by sequence, to what an output is."""
    out[0][out[2].index(lengths), out[1] : out[1] + rows.shape[1]] += rows


def last_rows(out, lengths, width) -> np.ndarray:
    """Rows of the last steps, (batch, width); zero of what has no step."""
    array, column, rows = out
    end = np.zeros((len(lengths), width), array.dtype)
    has = lengths > 0
    end[has] = array[(rows.base + rows.step * (lengths - 1))[has], column : column + width]
    return end


def beside(step: Step, size: int, out) -> Iterator[tuple[str, tuple[np.ndarray, int]]]:
    """The further outputs of a step that gradients go into, and where they lie: in the columns after the output's."""
    for k, name in enumerate(step.seeded):
        yield name, (out[0], out[1] + (k + 1) * size)
