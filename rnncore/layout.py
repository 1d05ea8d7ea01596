"""How a batch lies in memory: sequences in the order of falling length, and where rows of outside arrays are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from .forking import renewed

__all__ = ["Layout", "Rows", "Sources", "layout_of", "ragged"]

_KEPT = 64  # with a layout, of what calls have in common
_lock = renewed(threading.RLock())  # what is let go of may end a call of its own


@dataclass(eq=False)
class Layout:
    """A batch in the order of falling length: how many sequences are active at each step, and where their rows lie."""

    lengths: np.ndarray
    order: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray
    sorted_lengths: np.ndarray
    identity: bool
    shared: bool = False  # with other calls
    chunks: dict[int, tuple[np.ndarray, int]] = field(default_factory=dict)
    frames: dict[Any, Any] = field(default_factory=dict)  # see `kept`

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """What calls with this layout have in common, made once; what was not used for longest goes first."""
        frames = self.frames
        with _lock:
            found = frames.pop(key, None)
            if found is not None:
                frames[key] = found  # the last that was used
                return found
        made = make()
        with _lock:
            found = frames.setdefault(key, made)
            for old in list(frames)[: len(frames) - _KEPT] if len(frames) > _KEPT else ():
                frames.pop(old, None)
        return found

    @property
    def batch(self) -> int:
        return len(self.lengths)

    @property
    def rows(self) -> int:
        return int(self.offsets[-1])

    @property
    def time(self) -> int:
        return len(self.counts)

    def starts(self, limit: int) -> tuple[np.ndarray, int]:
        """First steps of chunks of at most `limit` rows (one step at least), and the rows of the largest."""
        if limit not in self.chunks:
            marks = [0]
            while marks[-1] < self.time:
                end = int(np.searchsorted(self.offsets, self.offsets[marks[-1]] + limit, "right")) - 1
                marks.append(min(max(end, marks[-1] + 1), self.time))
            starts = np.array(marks, np.int64)
            self.chunks[limit] = starts, int(np.diff(self.offsets[starts]).max(initial=0))
        return self.chunks[limit]

    def chunked(self, chunk) -> tuple[np.ndarray, int]:
        """As `starts`, where the most rows follow from those of the batch: ``chunk.rows(total)``."""
        return self.starts(chunk.rows(self.rows))

    @cached_property
    def finals(self) -> np.ndarray:
        """Row of each sequence's final state in a history of states, in sorted order."""
        n = self.sorted_lengths
        position = np.arange(self.batch)
        return np.where(n == 0, position, self.batch + self.offsets[np.maximum(n - 1, 0)] + position)

    @cached_property
    def turns(self) -> np.ndarray:
        """Row of each sequence's final state where two states take turns, in sorted order."""
        return (self.sorted_lengths % 2) * self.batch + np.arange(self.batch)

    def sorted(self, array: np.ndarray) -> np.ndarray:
        """An array (batch, ...) in sorted order."""
        return array if self.identity else array[self.order]


def layout_of(lengths: np.ndarray, full: bool) -> Layout:
    """The layout of a batch; that of equal lengths is kept."""
    if full and len(lengths):
        return _full_layout(len(lengths), int(lengths[0]))
    return _layout(lengths)


@lru_cache(maxsize=64)
def _full_layout(batch: int, time: int) -> Layout:
    return replace(_layout(np.full(batch, time, np.int64)), shared=True)


def _layout(lengths: np.ndarray) -> Layout:
    order = np.argsort(-lengths, kind="stable")
    time = int(lengths.max(initial=0))
    ends = np.bincount(lengths, minlength=time + 1)
    counts = (len(lengths) - np.cumsum(ends)[:time]).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    identity = bool(np.array_equal(order, np.arange(len(lengths))))
    return Layout(lengths, order, counts, offsets, lengths[order], identity)


@dataclass(eq=False)
class Rows:
    """Sequences in 2-D arrays: step t of sequence b is row ``base[b] + t * step``."""

    base: np.ndarray
    step: int

    def reversed(self, lengths: np.ndarray) -> Rows:
        """The same rows read backward within each length."""
        return Rows(self.base + self.step * (lengths - 1), -self.step)

    def later(self, steps: int) -> Rows:
        """The same sequences without their first steps."""
        return Rows(self.base + steps * self.step, self.step)

    def index(self, lengths: np.ndarray) -> np.ndarray:
        """Rows of all steps, sequence by sequence."""
        total = int(lengths.sum())
        starts = np.cumsum(lengths) - lengths
        within = np.arange(total) - np.repeat(starts, lengths)
        return np.repeat(self.base, lengths) + within * self.step


def ragged(lengths: np.ndarray) -> Rows:
    """Rows of sequences one after another, without padding."""
    return Rows(np.cumsum(lengths) - lengths, 1)


@dataclass(eq=False)
class Sources:
    """Other sequences that every step sees whole: position p of sequence b is row ``base[b] + p`` of each array."""

    arrays: dict[str, np.ndarray]
    base: np.ndarray
    counts: np.ndarray

    @property
    def longest(self) -> int:
        return int(self.counts.max(initial=0))
