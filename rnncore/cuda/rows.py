"""Rows of a batch in the order of a loop, (time, sequence): where they are in the caller's arrays, and in histories."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Layout, Rows
from .space import put

__all__ = ["ends_of", "in_order", "previous", "sorted_back", "sorted_to"]


def _steps(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Step and place in the batch of every row."""
    found = layout.frames.get("steps")
    if found is None:
        t = np.repeat(np.arange(layout.time), layout.counts)
        found = layout.frames["steps"] = t, np.arange(layout.rows) - layout.offsets[t]
    return found


def in_order(layout: Layout, rows: Rows) -> Any:
    """For every row of the loop, in which row of an outside array it lies."""
    t, b = _steps(layout)
    return put(layout.sorted(rows.base)[b] + t * rows.step)


def previous(layout: Layout) -> Any:
    """For every row of the loop, in which row of a history the state before it lies; None: in the same."""
    if layout.rows == layout.batch * layout.time:
        return None
    found = layout.frames.get("previous")
    if found is None:
        t, b = _steps(layout)
        before = np.where(t == 0, b, layout.batch + layout.offsets[np.maximum(t - 1, 0)] + b)
        found = layout.frames["previous"] = put(before)
    return found


def ends_of(layout: Layout, history: bool) -> Any:
    """Row of each sequence's final state in the caller's order: in a history, or where two states take turns."""
    key = "ends", history
    found = layout.frames.get(key)
    if found is None:
        rows = layout.finals if history else layout.turns
        back = np.empty_like(rows)
        back[layout.order] = rows
        found = layout.frames[key] = put(back)
    return found


def sorted_to(layout: Layout, array: Any) -> Any:
    """An array (batch, ...) in the order of the loop."""
    return array if layout.identity else array[_order(layout, "order", layout.order)]


def sorted_back(layout: Layout, array: Any) -> Any:
    """And back in the caller's order."""
    return array if layout.identity else array[_order(layout, "back", np.argsort(layout.order))]


def _order(layout: Layout, key: str, host: np.ndarray) -> Any:
    found = layout.frames.get(key)
    if found is None:
        found = layout.frames[key] = put(host)
    return found
