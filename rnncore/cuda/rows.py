"""Rows of a batch in the order of a loop, (time, sequence): where they are in the caller's arrays, and in histories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..layout import Layout, Rows
from .space import here, put_to_stay

__all__ = ["ends_of", "gathered", "kept", "previous", "scatter", "sorted_back", "sorted_to", "turns_of"]

_FRAMES = 64


def _steps(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Step and place in the batch of every row."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        t = np.repeat(np.arange(layout.time), layout.counts)
        return t, np.arange(layout.rows) - layout.offsets[t]

    return kept(layout, "steps", make)


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

    def make() -> Any:
        t, b = _steps(layout)
        return put_to_stay(layout.sorted(rows.base)[b] + t * rows.step)

    return kept(layout, ("rows", rows.step, rows.base.tobytes()), make)


def kept(layout: Layout, key: Any, make: Callable[[], Any]) -> Any:
    """What every call with a layout on the current device has in common; all goes when there is much of it."""
    key = here(), key
    found = layout.frames.get(key)
    if found is None:
        if len(layout.frames) >= _FRAMES:
            layout.frames.clear()
        found = layout.frames[key] = make()
    return found


def previous(layout: Layout) -> Any:
    """For every row of the loop, in which row of a history the state before it lies; None: in the same."""
    if layout.rows == layout.batch * layout.time:
        return None

    def make() -> Any:
        t, b = _steps(layout)
        return put_to_stay(np.where(t == 0, b, layout.batch + layout.offsets[np.maximum(t - 1, 0)] + b))

    return kept(layout, "previous", make)


def ends_of(layout: Layout, history: bool) -> Any:
    """Row of each sequence's final state in the caller's order: in a history, or where two states take turns."""

    def make() -> Any:
        rows = layout.finals if history else layout.turns
        back = np.empty_like(rows)
        back[layout.order] = rows
        return put_to_stay(back)

    return kept(layout, ("ends", history), make)


def turns_of(layout: Layout) -> Any:
    """Row of each sequence's final state where two states take turns, in the order of the loop."""
    return kept(layout, "turns", lambda: put_to_stay(layout.turns))


def sorted_to(layout: Layout, array: Any) -> Any:
    """An array (batch, ...) in the order of the loop."""
    return array if layout.identity else array[kept(layout, "order", lambda: put_to_stay(layout.order))]


def sorted_back(layout: Layout, array: Any) -> Any:
    """And back in the caller's order."""
    back = lambda: put_to_stay(np.argsort(layout.order))  # noqa: E731
    return array if layout.identity else array[kept(layout, "back", back)]
