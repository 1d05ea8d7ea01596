"""Texts to numbers and labels to classes, shared by the readers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import FileError, InputError

__all__ = ["as_float", "as_floats", "class_names", "codes", "missing_choice", "refuse_missing"]

_MISSING = {"?": "nan", "": "nan"}


def as_floats(texts: Sequence[str], where: str) -> np.ndarray:
    """Numbers, (len(texts),) float64; ``?`` and nothing are NaN.

    Raises
    ------
    FileError
        Naming `where` and the first text that is no number.
    """
    cleaned = [t.strip() for t in texts]
    try:
        return np.array([_MISSING.get(t, t) for t in cleaned], dtype=np.float64)
    except ValueError:
        return np.array([as_float(t, where) for t in cleaned])


def as_float(text: str, where: str) -> float:
    """One number; raises as `as_floats`."""
    try:
        return float(_MISSING.get(text, text))
    except ValueError:
        raise FileError(f"{where}: expected a number, got {text!r}") from None


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels, sorted: as numbers where all are numbers."""
    different = sorted(set(labels))
    try:
        return tuple(sorted(different, key=float))
    except ValueError:
        return tuple(different)


def codes(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """The place of each label in `classes`, (N,) int64."""
    place = {name: k for k, name in enumerate(classes)}
    return np.array([place[label] for label in labels], np.int64)


def missing_choice(missing: str) -> None:
    """Check the option `missing` of a reader."""
    if missing not in ("keep", "error"):
        raise InputError(f"missing must be 'keep' or 'error', got {missing!r}")


def refuse_missing(values: np.ndarray, missing: str, where: str) -> None:
    """Raise a `FileError` at `where` if a value is missing and `missing` says ``"error"``."""
    if missing == "error" and np.isnan(values).any():
        raise FileError(f"{where}: a value is missing; fill it in, or drop the sequence")
