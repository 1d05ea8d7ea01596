"""The X of scikit-learn as sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import Sequences
from ..errors import InputError

__all__ = ["as_sequences"]


def as_sequences(X: Any, features: int | None = None) -> Sequences:
    """Sequences of floats, with no target.

    Parameters
    ----------
    X : sequence of array, or array
        (N, T, features), or (N, T) of one feature; or N arrays (T_i, features) or (T_i,), in a list or an array of
        objects. What NumPy can make an array of is one.
    features : int, optional
        How many there must be.

    Returns
    -------
    Sequences
        Of float64.

    Raises
    ------
    InputError
        If a shape or dtype is another one, features are not as many everywhere, or a number is NaN or infinite.
    """
    rows = X if isinstance(X, (list, tuple)) else _rows(X)
    parts = [_part(row, f"X[{k}]") for k, row in enumerate(rows)]
    if not parts:
        raise InputError("X has no sequences; expected at least one")
    count = parts[0].shape[1] if features is None else features
    for k, part in enumerate(parts):
        if part.shape[1] != count:
            by = f"X[0] has {count}" if features is None else f"those learned from had {count}"
            raise InputError(f"X[{k}] has {_counted(part.shape[1])} a step, {by}")
    names = tuple(map(str, range(count)))
    return Sequences(parts, None, None, names, tuple(map(str, range(len(parts)))), "X")


def _rows(X: Any) -> Sequence[Any]:
    if hasattr(X, "toarray"):
        raise InputError(f"X must be dense, got a sparse {type(X).__name__}: give X.toarray()")
    array = X if np.ma.isMaskedArray(X) else np.asarray(X)  # masks are looked at row by row
    if array.ndim == 1 and array.dtype == object:
        return list(array)
    if array.ndim not in (2, 3):
        what = type(X).__name__ if array.ndim == 0 else f"shape {array.shape}"
        raise InputError(
            f"X must be (sequences, time, features), (sequences, time), or a list of (time, features), got {what}"
        )
    return list(array)


def _part(row: Any, where: str) -> np.ndarray:
    if np.ma.is_masked(row):
        raise InputError(f"{where} has masked elements, which have no value: fill them")
    try:
        part = np.asarray(row)
        part = part.astype(float) if part.dtype == object else part
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} must be an array of numbers: {error}") from error
    if part.dtype.kind not in "iufb" or part.ndim not in (1, 2):
        raise InputError(f"{where} must be numbers (time, features) or (time,), got {part.dtype} of shape {part.shape}")
    part = (part[:, None] if part.ndim == 1 else part).astype(np.float64, copy=False)
    wrong = ~np.isfinite(part).all(axis=1)
    if wrong.any():
        raise InputError(f"{where} has NaN or infinity at step {int(np.argmax(wrong))}: fill it, or leave it out")
    return part


def _counted(count: int) -> str:
    return "1 feature" if count == 1 else f"{count} features"
