"""Rows of a batch in the order of a loop, (time, sequence): where they are in the caller's arrays, and in histories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..layout import Layout, Rows
from .space import Stay, here

__all__ = [
    "ends_of", "gathered", "kept", "on_device", "previous", "scatter", "sorted_back", "sorted_to", "turns_of",
]  # fmt: skip


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

    def make() -> np.ndarray:
        t, b = _steps(layout)
        return layout.sorted(rows.base)[b] + t * rows.step

    return on_device(layout, ("rows", rows.step, rows.base.tobytes()), make)


def kept(layout: Layout, key: Any, make: Callable[[], Any]) -> Any:
    """What every call with a layout on the current device has in common (see `Layout.kept`)."""
    return layout.kept((here(), key), make)


def on_device(layout: Layout, key: Any, make: Callable[[], np.ndarray]) -> Any:
    """A device array of a host array that calls with a layout have in common (see `kept`)."""
    return kept(layout, key, lambda: Stay(make(), layout.shared)).array()


def previous(layout: Layout) -> Any:
    """For every row of the loop, in which row of a history the state before it lies; None: in the same."""
    if layout.rows == layout.batch * layout.time:
        return None

    def make() -> np.ndarray:
        t, b = _steps(layout)
        return np.where(t == 0, b, layout.batch + layout.offsets[np.maximum(t - 1, 0)] + b)

    return on_device(layout, "previous", make)


def ends_of(layout: Layout, history: bool) -> Any:
    """Row of each sequence's final state in the caller's order: in a history, or where two states take turns."""

    def make() -> np.ndarray:
        rows = layout.finals if history else layout.turns
        back = np.empty_like(rows)
        back[layout.order] = rows
        return back

    return on_device(layout, ("ends", history), make)


def turns_of(layout: Layout) -> Any:
    """Row of each sequence's final state where two states take turns, in the order of the loop."""
    return on_device(layout, "turns", lambda: layout.turns)


def sorted_to(layout: Layout, array: Any) -> Any:
    """An array (batch, ...) in the order of the loop."""
    return array if layout.identity else array[on_device(layout, "order", lambda: layout.order)]


def sorted_back(layout: Layout, array: Any) -> Any:
    """And back in the caller's order."""
    return array if layout.identity else array[on_device(layout, "back", lambda: np.argsort(layout.order))]
