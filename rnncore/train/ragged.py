"""Arrays of different lengths, kept end to end in one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["Ragged", "as_arrays", "as_numbers"]


@dataclass(frozen=True, eq=False)
class Ragged:
    """N arrays (T_i, ...) of one dtype as slices of one array.

    Parameters
    ----------
    values : ndarray, (steps, ...)
        All rows; parts may share rows, and rows may belong to none.
    starts, lengths : ndarray of int64, (N,)
        The first row and the number of rows of each.
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, value: Any, lengths: Any, where: str) -> Ragged:
        """From a list of (T_i, ...) arrays, or an (N, T, ...) array with `lengths`; `where` is for errors."""
        if isinstance(value, np.ndarray) and value.dtype != object:
            return cls._padded(as_numbers(value, where), lengths, where)
        if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str):
            raise InputError(f"{where}: expected a list of arrays or an array, got {type(value).__name__}")
        parts = [as_numbers(part, f"{where}[{i}]") for i, part in enumerate(value)]
        for i, part in enumerate(parts):
            if part.shape[1:] != parts[0].shape[1:] or part.ndim > 2:
                raise InputError(
                    f"{where}[{i}] has shape {part.shape}, {where}[0] has {parts[0].shape}: "
                    f"expected (time, features) or (time,), where time alone may differ"
                )
        counts = np.array([len(part) for part in parts], np.int64)
        if lengths is not None and not np.array_equal(lengths, counts):
            raise InputError(f"{where}: lengths go with a padded array; those of a list are its members'")
        return cls(np.concatenate(parts) if parts else np.zeros((0, 1)), np.cumsum(counts) - counts, counts)

    @classmethod
    def _padded(cls, array: np.ndarray, lengths: Any, where: str) -> Ragged:
        if array.ndim not in (2, 3):
            raise InputError(f"{where}: expected (N, T, features) or (N, T), got shape {array.shape}")
        n, time = array.shape[:2]
        counts = np.full(n, time) if lengths is None else as_numbers(lengths, "lengths")
        if counts.shape != (n,) or counts.dtype.kind not in "iu":
            raise InputError(f"lengths: expected {n} integers, got {counts.dtype} of shape {counts.shape}")
        if n and (counts.min() < 0 or counts.max() > time):
            raise InputError(f"lengths: expected 0 to {time}, got {counts.min()} to {counts.max()}")
        return cls(array.reshape(n * time, *array.shape[2:]), np.arange(n) * time, counts.astype(np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    def pick(self, indices: Any) -> Ragged:
        """The arrays at `indices`, over the same rows."""
        return Ragged(self.values, self.starts[indices], self.lengths[indices])

    def padded(self, indices: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Rows of some arrays, (B, T, ...), `steps` (B, T) being the row of each within its own array."""
        # An empty array may start past the last row: clipping gives it any row, which nobody reads.
        return self.values.take(self.starts[indices][:, None] + steps, axis=0, mode="clip")

    def end_to_end(self) -> np.ndarray:
        """The rows in order, (sum of lengths, ...)."""
        before = np.cumsum(self.lengths) - self.lengths
        return self.values[np.repeat(self.starts - before, self.lengths) + np.arange(self.lengths.sum())]

    def astype(self, dtype: Any) -> Ragged:
        """The same arrays in another dtype, without a copy where it is theirs."""
        return replace(self, values=self.values.astype(dtype, copy=False))

    def checksum(self, value: int = 0) -> int:
        """A CRC-32 of the content, going on from `value`."""
        for array in (self.lengths, self.starts, self.values):
            value = zlib.crc32(np.ascontiguousarray(array).data, value)
        return value


def as_arrays(value: Any, where: str) -> Any:
    """What another library holds (a Series, a DataArray, a tensor) as a NumPy array; anything else as it is.

    Raises
    ------
    InputError
        If it cannot be read on the host; `where` is for the error.
    """
    if isinstance(value, (np.ndarray, Sequence)) or not hasattr(value, "__array__"):
        return value
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {type(value).__name__} cannot be read as a NumPy array: {error}") from error


def as_numbers(value: Any, where: str) -> np.ndarray:
    """`value` as an array of integers or floats with at least one axis; `where` is for errors."""
    if np.ma.is_masked(value):
        raise InputError(f"{where} has masked elements, which have no value: fill them, or leave those sequences out")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{where}: not an array: {error}") from error
    if array.dtype.kind not in "iufb" or array.ndim < 1:
        raise InputError(f"{where}: expected an array of numbers, got {array.ndim} axes of {array.dtype}")
    return array.astype(np.int64) if array.dtype.kind == "b" else array
