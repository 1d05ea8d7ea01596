"""Rows of a batch in the order of a loop, (time, sequence): where they are in the caller's arrays, and in histories."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Layout, Rows
from .space import put_to_stay

__all__ = ["ends_of", "gathered", "kept", "previous", "scatter", "sorted_back", "sorted_to", "turns_of"]

_FRAMES = 64


def _steps(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Step and place in the batch of every row."""
    found = layout.frames.get("steps")
    if found is None:
        t = np.repeat(np.arange(layout.time), layout.counts)
        found = kept(layout, "steps", (t, np.arange(layout.rows) - layout.offsets[t]))
    return found


def gathered(layout: Layout, rows: Rows, array: Any) -> Any:
    """The rows of an outside array in the order of the loop."""
    run = _run(layout, rows)
    return array[_in_order(layout, rows)] if run is None else array[run]


def scatter(layout: Layout, rows: Rows, to: Any, array: Any) -> None:
    """Write rows in the order of the loop to those of an outside array."""
    run = _run(layout, rows)
    to[_in_order(layout, rows) if run is None else run] = array


def _run(layout: Layout, rows: Rows) -> slice | None:
    """The rows, where they are neighbours in order."""
    if layout.batch != 1 or rows.step != 1:
        return None
    return slice(int(rows.base[0]), int(rows.base[0]) + layout.rows)


def _in_order(layout: Layout, rows: Rows) -> Any:
    """For every row of the loop, in which row of an outside array it lies."""
    key = "rows", rows.step, rows.base.tobytes()
    found = layout.frames.get(key)
    if found is None:
        t, b = _steps(layout)
        found = kept(layout, key, put_to_stay(layout.sorted(rows.base)[b] + t * rows.step))
    return found


def kept(layout: Layout, key: Any, value: Any) -> Any:
    """Keep what every call with a layout has in common; all goes when there is much of it."""
    if len(layout.frames) >= _FRAMES:
        layout.frames.clear()
    layout.frames[key] = value
    return value


def previous(layout: Layout) -> Any:
    """For every row of the loop, in which row of a history the state before it lies; None: in the same."""
    if layout.rows == layout.batch * layout.time:
        return None
    found = layout.frames.get("previous")
    if found is None:
        t, b = _steps(layout)
        before = np.where(t == 0, b, layout.batch + layout.offsets[np.maximum(t - 1, 0)] + b)
        found = kept(layout, "previous", put_to_stay(before))
    return found


def ends_of(layout: Layout, history: bool) -> Any:
    """Row of each sequence's final state in the caller's order: in a history, or where two states take turns."""
    key = "ends", history
    found = layout.frames.get(key)
    if found is None:
        rows = layout.finals if history else layout.turns
        back = np.empty_like(rows)
        back[layout.order] = rows
        found = kept(layout, key, put_to_stay(back))
    return found


def turns_of(layout: Layout) -> Any:
    """Row of each sequence's final state where two states take turns, in the order of the loop."""
    return _order(layout, "turns", layout.turns)


def sorted_to(layout: Layout, array: Any) -> Any:
    """An array (batch, ...) in the order of the loop."""
    return array if layout.identity else array[_order(layout, "order", layout.order)]


def sorted_back(layout: Layout, array: Any) -> Any:
    """And back in the caller's order."""
    return array if layout.identity else array[_order(layout, "back", np.argsort(layout.order))]


def _order(layout: Layout, key: str, host: np.ndarray) -> Any:
    found = layout.frames.get(key)
    if found is None:
        found = kept(layout, key, put_to_stay(host))
    return found
