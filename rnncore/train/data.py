"""Ragged sequences with their targets: kept end to end, cut out as padded batches."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .ragged import Ragged, as_arrays, as_numbers

__all__ = ["Dataset"]


class Dataset:
    """Sequences of different lengths and, for training, their targets.

    Parameters
    ----------
    x : sequence of array, ndarray, or mapping of str to these
        Features: a list of (T_i, features) arrays or one (N, T, features) array. Tokens: a list
        of (T_i,) integer arrays or one (N, T) integer array. A mapping where a cell reads
        several inputs; all its members have the same lengths.
    target : optional
        One a sequence: (N,) integer classes, or (N,) or (N, outputs) values. One a step: a list of
        (T_i,) classes or (T_i, outputs) values, or an (N, T) or (N, T, outputs) array.
    lengths : (N,) integers, optional
        Steps that count of each row, where `x` is an array; all of them by default.
    per_step : bool, optional
        Whether `target` has one entry a step; by default guessed from its shape.
    aligned : bool
        False where targets are sequences with lengths of their own, for a decoder to write: a list of (S_i,) classes
        or (S_i, outputs) values, or an (N, S) or (N, S, outputs) array with `target_lengths`.
    target_lengths : (N,) integers, optional
        Steps that count of each row of a `target` that is such an array; all of them by default.

    Attributes
    ----------
    lengths : ndarray of int64, (N,)
    per_step : bool
    aligned : bool

    Raises
    ------
    InputError
        If shapes, lengths or types do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.train import Dataset
    >>> data = Dataset([np.ones((3, 2)), np.ones((5, 2))], [0, 1])
    >>> x, target, lengths = data.batch(np.array([0, 1]))
    >>> x.shape, target.tolist(), lengths.tolist()
    ((2, 5, 2), [0, 1], [3, 5])
    """

    def __init__(
        self, x: Any, target: Any = None, lengths: Any = None, *, per_step: bool | None = None, aligned: bool = True,
        target_lengths: Any = None,
    ):  # fmt: skip
        named = {k: as_arrays(v, "x") for k, v in (x if isinstance(x, Mapping) else {"": x}).items()}
        target = as_arrays(target, "target")
        if not named:
            raise InputError("x is an empty mapping; expected input name to sequences")
        self._inputs = {k: Ragged.of(v, lengths, f"x[{k!r}]" if k else "x") for k, v in named.items()}
        first, *others = self._inputs
        for name, part in self._inputs.items():
            if part.values.ndim == 1 and part.values.dtype.kind not in "iu":
                raise InputError(
                    "a sequence is (time, features), or (time,) integers for tokens; got (time,) of "
                    f"{part.values.dtype}: for a single feature give s[:, None]"
                )
            if not np.array_equal(part.lengths, self.lengths):
                raise InputError(f"x[{name!r}] has other lengths than x[{first!r}]")
        self.aligned = bool(aligned)
        self._target: Ragged | np.ndarray | None = None
        if aligned and target_lengths is not None:
            raise InputError("target_lengths are those of targets with lengths of their own: aligned=False")
        if not aligned and per_step is False:
            raise InputError("targets with lengths of their own have one entry a step; got per_step=False")
        if target is not None and per_step is None:
            per_step = not aligned or _looks_per_step(target, self.lengths, named[first])
        if target is not None:
            lengths = lengths if aligned else target_lengths
            self._target = self._steps(target, lengths) if per_step else self._wholes(target)

    def _steps(self, target: Any, lengths: Any) -> Ragged:
        given = lengths if isinstance(target, np.ndarray) or not self.aligned else None
        entries = target if isinstance(target, (list, tuple)) else ()
        if any(np.isscalar(entry) or getattr(entry, "ndim", 1) == 0 for entry in entries):
            raise InputError("target: expected one entry for each step of a sequence, got one number for all of them")
        part = Ragged.of(target, given, "target")
        if len(part) != len(self):
            raise InputError(f"target: got {len(part)} sequences for {len(self)} of x")
        wrong = self.aligned and part.lengths != self.lengths
        if np.any(wrong):
            i = int(np.argmax(wrong))
            raise InputError(
                f"target[{i}] has {part.lengths[i]} entries, x[{i}] has {self.lengths[i]} steps; "
                "give aligned=False where targets have lengths of their own"
            )
        return part

    def _wholes(self, target: Any) -> np.ndarray:
        values = as_numbers(target, "target")
        if len(values) != len(self) or values.ndim > 2:
            raise InputError(
                f"target: expected one class or one vector of values for each of {len(self)} sequences, "
                f"got shape {values.shape}"
            )
        return values

    @property
    def lengths(self) -> np.ndarray:
        return next(iter(self._inputs.values())).lengths

    @property
    def per_step(self) -> bool:
        return isinstance(self._target, Ragged)

    @property
    def target_lengths(self) -> np.ndarray | None:
        """Steps of each target, (N,), where these have lengths of their own."""
        return self._target.lengths if isinstance(self._target, Ragged) and not self.aligned else None

    @property
    def work(self) -> np.ndarray:
        """Steps to run through for each sequence, (N,): those of its input, and of its target where it has its own."""
        return self.lengths if self.target_lengths is None else self.lengths + self.target_lengths

    def own_lengths(self, indices: Any) -> dict[str, Any]:
        """``target_lengths`` of some sequences as a network takes them, where these have lengths of their own."""
        return {} if self.target_lengths is None else {"target_lengths": self.target_lengths[indices]}

    @property
    def target(self) -> np.ndarray | None:
        """Targets in order: (N,) or (N, outputs); one a step: those of all steps, end to end; or None."""
        return self._target.end_to_end() if isinstance(self._target, Ragged) else self._target

    def __len__(self) -> int:
        return len(self.lengths)

    def __repr__(self) -> str:
        per = "step" if self.per_step else "sequence"
        kind = "no targets" if self._target is None else f"one target a {per}"
        if self.target_lengths is not None:
            kind = f"targets of {_span(self.target_lengths)}"
        return f"Dataset({len(self)} sequences, {_span(self.lengths)}, {kind})"

    def __getitem__(self, indices: Any) -> Dataset:
        """The sequences at `indices` (a slice, a mask, or integers) as a dataset over the same memory."""
        indices = np.atleast_1d(np.arange(len(self))[indices])
        target = self._target
        if target is not None:
            target = target.pick(indices) if isinstance(target, Ragged) else target[indices]
        return self._with({name: part.pick(indices) for name, part in self._inputs.items()}, target)

    def batch(
        self, indices: np.ndarray, start: int = 0, stop: int | None = None
    ) -> tuple[Any, np.ndarray | None, np.ndarray]:
        """Padded inputs, targets and lengths of some sequences.

        Parameters
        ----------
        indices : ndarray of int, (B,)
        start, stop : int, optional
            Of these steps alone; a sequence that ends before `start` has length 0.

        Returns
        -------
        x : ndarray (B, T, features) or (B, T), or a mapping of these
            T is the longest length; what lies past a length has no meaning.
        target : ndarray or None
            (B,), (B, outputs), (B, T) or (B, T, outputs); with lengths of their own, T is their longest.
        lengths : ndarray of int64, (B,)
        """
        whole = self.lengths[indices]
        lengths = np.clip(whole - start, 0, None if stop is None else stop - start)
        steps = _steps(whole, lengths, start)
        x = {name: part.padded(indices, steps) for name, part in self._inputs.items()}
        target = self._target
        if isinstance(target, Ragged):
            own = target.lengths[indices]
            target = target.padded(indices, steps if self.aligned else _steps(own, own))
        elif target is not None:
            target = target[indices]
        return x.get("", x), target, lengths

    def split(self, fraction: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Hold out a random part, with each class in proportion where a sequence has one class.

        Parameters
        ----------
        fraction : float
            Between 0 and 1: the share of the second part.
        seed : int
            The same seed gives the same parts.

        Returns
        -------
        Dataset, Dataset
            The rest, and the part held out; both in the order of the whole.

        Raises
        ------
        InputError
            If one of the two would be empty.
        """
        from ..data.sequences import held_out

        target = self._target
        one_class = isinstance(target, np.ndarray) and target.ndim == 1 and target.dtype.kind in "iu"
        held = held_out(len(self), fraction, seed, np.asarray(target) if one_class else None)
        return self[np.flatnonzero(~held)], self[np.flatnonzero(held)]

    def cast(self, dtype: Any, *, values: bool) -> Dataset:
        """Features in `dtype`; with `values`, targets too, with a last axis for the outputs."""
        inputs = {n: p if p.values.ndim == 1 else p.astype(dtype) for n, p in self._inputs.items()}
        target = self._target
        if target is not None and values:
            target = target.astype(dtype)
        if isinstance(target, np.ndarray) and target.ndim == 1 and values:
            target = target[:, None]
        if isinstance(target, Ragged) and target.values.ndim == 1 and values:
            target = Ragged(target.values[:, None], target.starts, target.lengths)
        return self._with(inputs, target)

    def checksum(self) -> int:
        """A CRC-32 of everything: tells whether a run that is resumed has the same data."""
        value = 0
        for part in self._inputs.values():
            value = part.checksum(value)
        if self._target is None:
            return value
        target = self._target
        whole = target if isinstance(target, Ragged) else Ragged(target, self.lengths, self.lengths)
        return whole.checksum(value)

    def _with(self, inputs: dict[str, Ragged], target: Ragged | np.ndarray | None) -> Dataset:
        other = copy.copy(self)
        other._inputs, other._target = inputs, target
        return other


def _steps(whole: np.ndarray, lengths: np.ndarray, start: int = 0) -> np.ndarray:
    """Rows to take of sequences, (B, T), from `start` on; past an end the last one again."""
    return np.minimum(start + np.arange(lengths.max(initial=0)), np.maximum(whole - 1, 0)[:, None])


def _span(lengths: np.ndarray) -> str:
    return f"{lengths.min()} to {lengths.max()} steps" if len(lengths) else "none"


def _looks_per_step(target: Any, lengths: np.ndarray, x: Any) -> bool:
    """Whether targets are one a step, by shape: sure for ragged ones, else by what is usual."""
    if isinstance(target, np.ndarray) and target.dtype != object:
        steps = x.shape[1] if isinstance(x, np.ndarray) and x.ndim > 1 else -1
        classes = target.ndim == 2 and target.dtype.kind in "iu" and target.shape[1] == steps
        return classes or target.ndim == 3
    if not isinstance(target, Sequence | np.ndarray) or isinstance(target, str):
        return False
    shapes = [np.shape(t) for t in target]
    if not all(shapes) or not shapes:
        return False
    if any(s[0] != n for s, n in zip(shapes, lengths, strict=False)):
        return len(set(shapes)) > 1
    return all(len(s) > 1 or np.asarray(t).dtype.kind in "iub" for s, t in zip(shapes, target, strict=True))
