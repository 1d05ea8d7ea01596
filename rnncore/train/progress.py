"""The progress bar: loss and sequences per second, on standard error."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

__all__ = ["Progress"]

_SHOWN = ("loss", "val_loss", "val_accuracy", "val_exact_match")


class Progress:
    """A tqdm bar that counts sequences, or nothing at all where it is not wanted.

    Parameters
    ----------
    shown : bool
    total : int or None
        Sequences of the whole run, None where it cannot be known.
    done : int
        Sequences of epochs already behind.
    """

    def __init__(self, shown: bool, total: int | None, done: int = 0):
        self._bar: Any = None
        self._notes: dict[str, str] = {}
        if shown:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, unit="seq", file=sys.stderr, dynamic_ncols=True, mininterval=0.2
            )

    def update(self, sequences: int, loss: float) -> None:
        """Count sequences; their loss is shown the next time the bar is drawn."""
        if self._bar is not None and self._bar.update(sequences):
            self._notes["loss"] = f"{loss:.4g}"
            self._bar.set_postfix(self._notes, refresh=False)

    def epoch(self, record: dict[str, float], epochs: int) -> None:
        """Show the record of an epoch that is over."""
        if self._bar is None:
            return
        self._notes = {n: f"{record[n]:.4g}" for n in _SHOWN if n in record}
        self._bar.set_description(f"epoch {record['epoch']}/{epochs}", refresh=False)
        self._bar.set_postfix(self._notes, refresh=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
