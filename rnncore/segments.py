"""Masks and resets: the steps that count, cut into episodes that are sequences of their own for the loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .backends import indexed, zeros_beside
from .errors import InputError
from .inputs import Batch, as_host

__all__ = ["Segments", "segments_of"]

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Segments:
    """Where the steps and states of a batch are in a batch of its episodes, without the masked steps.

    Attributes
    ----------
    rows, steps : ndarray, (n,) int
        Row of each step that counts in the inputs, and in (batch * time) outputs; sequence by sequence.
    owner, lengths : ndarray, (segments,) int
        Sequence that an episode is a part of, and its steps that count.
    first : ndarray, (segments,) bool
        Whether it starts from the state before the whole sequence.
    last : ndarray, (batch,) int
        The last episode of each sequence.
    whole : ndarray, (batch,) int
        Lengths of the sequences, with the steps that do not count.
    time : int
    """

    rows: np.ndarray
    steps: np.ndarray
    owner: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    last: np.ndarray
    whole: np.ndarray
    time: int

    @property
    def counts(self) -> np.ndarray:
        """(batch,) Steps of each sequence that count."""
        return np.bincount(self.owner, self.lengths, len(self.last)).astype(np.int64)

    # forward
    def batch(self, whole: Batch, initial: Arrays) -> Batch:
        """Every episode as a sequence; `initial` gives learned initial states by ``<path>0``."""
        inner = replace(
            whole, arrays=self._taken(whole.arrays), base=np.cumsum(self.lengths) - self.lengths, lengths=self.lengths,
            time=int(self.lengths.max(initial=0)), form="list", full=False, counts=self.lengths, segments=None,
            cut=self,
        )  # fmt: skip
        if whole.lesson is not None:
            inner.lesson = replace(whole.lesson, arrays=self._taken(whole.lesson.arrays))
        if whole.state is not None:
            inner.state = {
                path: v[indexed(v, self.owner)] if path in whole.steady else self._started(v, initial.get(path + "0"))
                for path, v in whole.state.items()
            }
        return inner

    def _taken(self, arrays: Arrays) -> dict[str, np.ndarray]:
        return {name: a[indexed(a, self.rows)] for name, a in arrays.items()}

    def _started(self, given: np.ndarray, learned: np.ndarray | None) -> np.ndarray:
        start = zeros_beside(given if learned is None else learned, (len(self.owner), given.shape[1]))
        if learned is not None:
            start[...] = learned
        start[indexed(start, np.flatnonzero(self.first))] = given[indexed(given, self.owner[self.first])]
        return start

    def ends(self, values: np.ndarray) -> np.ndarray:
        """What each sequence's last episode gave."""
        return values[indexed(values, self.last)]

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """Rows of the steps that count as (batch, time, features), zero elsewhere."""
        y = zeros_beside(rows, (len(self.whole), self.time, rows.shape[1]))
        y.reshape(-1, rows.shape[1])[indexed(rows, self.steps)] = rows
        return y

    # backward
    def ends_back(self, d: np.ndarray) -> np.ndarray:
        """Adjoint of what every episode gave, from that of `ends`."""
        full = zeros_beside(d, (len(self.lengths), d.shape[1]))
        full[indexed(d, self.last)] = d
        return full

    def inputs_back(self, d: np.ndarray, count: int) -> np.ndarray:
        """Adjoint of the `count` rows of an input."""
        full = zeros_beside(d, (count, d.shape[1]))
        full[indexed(d, self.rows)] = d
        return full

    def states_back(self, d: Arrays, steady: tuple[str, ...], grads: Arrays) -> dict[str, np.ndarray]:
        """Adjoints of the states before each sequence, from those before its episodes, `d`.

        All episodes of a sequence start from the states `steady`. From others it is the first alone: later ones started
        as the network says, which is added to the gradients of what is learned of it.
        """
        for path, rows in d.items():
            if path + "0" in grads:
                grads[path + "0"][...] += rows[indexed(rows, np.flatnonzero(~self.first))].sum(0)
        return {path: self._starts_back(rows, path in steady) for path, rows in d.items()}

    def _starts_back(self, d: np.ndarray, every: bool) -> np.ndarray:
        full = zeros_beside(d, (len(self.last), d.shape[1]))
        if not every:
            full[indexed(d, self.owner[self.first])] = d[indexed(d, np.flatnonzero(self.first))]
            return full
        counts = np.bincount(self.owner, minlength=len(full))
        begins = np.cumsum(counts) - counts
        for k in range(int(counts.max(initial=0))):  # the k-th episodes of all sequences: one order of summing
            has = np.flatnonzero(counts > k)
            full[indexed(d, has)] += d[indexed(d, begins[has] + k)]
        return full


def segments_of(batch: Batch, mask, reset) -> Segments | None:
    """The episodes of a batch; None without mask and reset.

    Parameters
    ----------
    mask : array_like of bool or 0/1, (batch, time), or None
        0: the step is left out, the state held.
    reset : array_like of bool or 0/1, (batch, time), or None
        1: an episode starts at this step.

    Raises
    ------
    InputError
        Wrong shape, type or value.
    """
    if mask is None and reset is None:
        return None
    within = np.arange(batch.time) < batch.lengths[:, None]
    counted = within if mask is None else within & _flags(mask, batch, "mask")
    starts = np.zeros_like(within) if reset is None else within & _flags(reset, batch, "reset")
    episodes = starts.sum(1) + 1
    offset = np.cumsum(episodes) - episodes
    sequence, step = np.nonzero(counted)
    found = offset[sequence] + np.cumsum(starts, 1)[sequence, step]
    lengths = np.bincount(found, minlength=int(episodes.sum()))
    owner = np.repeat(np.arange(batch.size), episodes)
    is_last = np.zeros(len(owner), bool)
    is_last[offset + episodes - 1] = True
    kept = (lengths > 0) | is_last  # an empty episode shows only in the final state
    first = np.zeros(len(owner), bool)
    first[offset] = True
    return Segments(
        batch.base[sequence] + step, sequence * batch.time + step, owner[kept], lengths[kept].astype(np.int64),
        first[kept], np.flatnonzero(is_last[kept]), batch.lengths, batch.time,
    )  # fmt: skip


def _flags(value, batch: Batch, what: str) -> np.ndarray:
    """(batch, time) booleans."""
    shape = (batch.size, batch.time)
    rows = isinstance(value, (list, tuple)) and len(value) == batch.size and batch.form == "list"
    if rows and all(np.shape(v) == (n,) for v, n in zip(value, batch.counts)):
        parts = [as_host(v, what) for v in value]
        kind = np.result_type(*parts) if parts else np.dtype(bool)
        array = np.zeros(shape, kind)
        for k, part in enumerate(parts):
            array[k, : len(part)] = part
    else:
        array = as_host(value, what)
    if array.shape != shape:
        raise InputError(f"{what} must have shape (batch, time) = {shape}, got {array.shape}")
    if array.size and array.dtype.kind not in "biu":
        raise InputError(f"{what} must be booleans or integers 0 and 1, got {array.dtype}")
    bad = array[(array != 0) & (array != 1)]
    if bad.size:
        raise InputError(f"{what} must be 0 or 1 at each step, got {bad[0]}")
    return array.astype(bool)
