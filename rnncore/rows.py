"""Outputs in rows of larger arrays: (array, first column, rows)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .backends import indexed, zeros_beside
from .lang.trace import Step
from .layout import Rows

__all__ = ["add", "beside", "ends", "last_rows", "put"]


def put(out, rows: np.ndarray, lengths) -> None:
    """Write rows, sequence by sequence, to where an output goes."""
    out[0][indexed(out[0], out[2].index(lengths)), out[1] : out[1] + rows.shape[1]] = rows


def add(out, rows: np.ndarray, lengths) -> None:
    """Add rows, sequence by sequence, to what an output is."""
    out[0][indexed(out[0], out[2].index(lengths)), out[1] : out[1] + rows.shape[1]] += rows


def last_rows(out, lengths, width) -> np.ndarray:
    """Rows of the last steps, (batch, width); zero of what has no step."""
    array, column, rows = out
    end = zeros_beside(array, (len(lengths), width))
    has, last = ends(array, rows, lengths)
    end[has] = array[last, column : column + width]
    return end


def ends(array, rows: Rows, lengths) -> tuple[Any, Any]:
    """What indexes the sequences that have a step, in a device's arrays of one row each, and their last steps' rows."""
    has = np.flatnonzero(lengths)
    last = (rows.base + rows.step * (lengths - 1))[has]
    return indexed(array, has), indexed(array, last)


def beside(step: Step, size: int, out) -> Iterator[tuple[str, tuple[np.ndarray, int]]]:
    """The further outputs of a step that gradients go into, and where they lie: in the columns after the output's."""
    for k, name in enumerate(step.seeded):
        yield name, (out[0], out[1] + (k + 1) * size)
