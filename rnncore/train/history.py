"""What a run came to, epoch by epoch."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .files import write_atomically

__all__ = ["History"]


class History:
    """One record an epoch: numbers by name.

    Parameters
    ----------
    records : iterable of mappings, optional
        From name to number.

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.5}])
    >>> history[-1]["loss"], history["loss"].tolist(), len(history)
    (0.5, [0.9, 0.5], 2)
    """

    def __init__(self, records: Iterable[Mapping[str, float]] = ()):
        self._records = [dict(r) for r in records]

    @property
    def records(self) -> list[dict[str, float]]:
        """The records as plain JSON values."""
        return [dict(r) for r in self._records]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of their first appearance."""
        return tuple(dict.fromkeys(name for record in self._records for name in record))

    def append(self, record: Mapping[str, float]) -> None:
        """Add the record of an epoch."""
        self._records.append(dict(record))

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.records)

    def __getitem__(self, key: int | str) -> Any:
        """The record of an epoch by position, or a column by name: float64, (epochs,), NaN where absent."""
        if not isinstance(key, str):
            return dict(self._records[key])
        if key not in self.names:
            raise KeyError(f"no column {key!r}; there are: {', '.join(self.names)}")
        return np.array([record.get(key, np.nan) for record in self._records], np.float64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._records == other._records

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"History({len(self)} epochs: {', '.join(self.names)})"

    def plot(self, ax: Any = None) -> Any:
        """Draw loss, and accuracy and exact match on an axis of their own, over the epochs.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Of a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
            The axes of the loss; ``.figure`` is the picture.
        """
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(6.4, 4.0), layout="constrained").subplots()
        shown = {"loss": ("training loss", "C0"), "val_loss": ("validation loss", "C1")}
        for name, (label, color) in shown.items():
            if name in self.names:
                ax.plot(self["epoch"], self[name], color=color, label=label)
        ax.set(xlabel="epoch", ylabel="loss")
        if ax.get_xscale() == "linear":  # the ticks of others are their own
            ax.locator_params(axis="x", integer=True)
        shares = {"val_accuracy": ("accuracy", "C2"), "val_exact_match": ("exact match", "C3")}
        there = {name: how for name, how in shares.items() if name in self.names}
        if there:
            right = ax.twinx()
            right.set(ylabel=", ".join(label for label, _ in there.values()))
        for name, (label, color) in there.items():
            right.plot(self["epoch"], self[name], color=color)
            ax.plot([], [], color=color, label=f"validation {label}")
        if self._records:
            entries = len(ax.get_legend_handles_labels()[1])
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2 if entries == 4 else 3, frameon=False)
        return ax

    def save_plot(self, path: str | Path) -> None:
        """Write the picture of `plot`; the format is that of the ending (``.png``, ``.svg``, ``.pdf``).

        Raises
        ------
        InputError
            If the ending names no format that matplotlib writes.
        FileError
            If the file cannot be written.
        """
        from ..errors import InputError

        buffer, ending = io.BytesIO(), Path(path).suffix[1:].lower() or "png"
        figure = self.plot().figure
        if ending not in figure.canvas.get_supported_filetypes():
            raise InputError(f"{path}: no picture format is called {ending!r}; use .png, .svg or .pdf")
        figure.savefig(buffer, format=ending, dpi=150)
        write_atomically(path, buffer.getvalue())
