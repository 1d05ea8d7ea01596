"""A batch as the loops read it: rows of every input, where each sequence lies in them, and what goes with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .arguments import whole
from .backends import Backend
from .errors import InputError

__all__ = ["Batch", "Tokens", "Writing", "is_tokens"]


@dataclass(frozen=True)
class Tokens:
    """Integer tokens 0 to `size` - 1 as input; the input product is then a row look-up."""

    size: int

    def __post_init__(self):
        number = whole(self.size, 1)
        if number is None:
            raise InputError(f"Tokens needs a positive integer, got {self.size!r}")
        object.__setattr__(self, "size", number)

    def __repr__(self) -> str:
        return f"Tokens({self.size})"


def _within(lengths: np.ndarray, time: int) -> np.ndarray:
    return np.arange(time) < lengths[:, None]


def _rows_within(base: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    starts = np.cumsum(lengths) - lengths
    return np.repeat(base - starts, lengths) + np.arange(lengths.sum())


@dataclass
class Writing:
    """The sequences that a decoder writes: step t of sequence b is row ``base[b] + t`` of what it reads and gives."""

    lengths: np.ndarray
    time: int
    form: str = "padded"
    extras: dict[str, np.ndarray] = field(default_factory=dict)  # where further outputs go
    backend: Backend | None = None
    segments: ClassVar[None] = None

    @property
    def size(self) -> int:
        return len(self.lengths)

    @property
    def counts(self) -> np.ndarray:
        return np.full(self.size, self.time)

    @property
    def full(self) -> bool:
        return bool((self.lengths == self.time).all())

    @property
    def base(self) -> np.ndarray:
        return np.arange(self.size, dtype=np.int64) * self.time

    @property
    def inside(self) -> np.ndarray:
        """(batch, time) booleans: the steps that count."""
        return _within(self.lengths, self.time)

    @property
    def index(self) -> np.ndarray:
        """Rows of the steps that count, sequence by sequence."""
        return _rows_within(self.base, self.lengths)


@dataclass
class Batch:
    """Sequences in one array per input: row ``base[b] + t`` of the 2-D array is step t of sequence b.

    ``form`` is ``"padded"`` for (batch, time, features) or ``"list"`` for a list of sequences.
    """

    arrays: dict[str, np.ndarray]
    base: np.ndarray
    lengths: np.ndarray
    time: int
    form: str
    full: bool
    single: bool = True
    state: dict[str, np.ndarray] | None = field(default=None)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    lesson: Any = None  # of teacher forcing: what one of the loops reads besides
    checkpoint: int | str | None = None  # steps between the states that a tape keeps; None: it keeps everything
    writing: Writing | None = None
    vector: np.ndarray | None = None  # one a sequence, that the initial state is made of
    bridged: tuple[str, ...] = ()  # the states that are
    steady: tuple[str, ...] = ()  # given states that every episode starts from, not the first alone
    segments: Any = None  # of a mask or resets: the episodes
    backend: Backend | None = None  # where the arrays are; None: on the host
    shown: Callable[[Any], Any] | None = None  # how an array is given to the caller; None: as it is
    cut: Any = None  # where these are episodes, which nobody sees padded: those of which sequences

    @property
    def size(self) -> int:
        return len(self.lengths)

    @property
    def out(self) -> Batch | Writing:
        """Where outputs lie: in the rows of the inputs, or in those of the sequences that a decoder writes."""
        return self if self.writing is None else self.writing

    @property
    def sequences(self) -> dict[str, np.ndarray]:
        """Everything that loops read: the inputs, and what teacher forcing adds."""
        return self.arrays if self.lesson is None else {**self.arrays, **self.lesson.arrays}

    @property
    def inside(self) -> np.ndarray:
        """(batch, time) booleans: the steps that count."""
        if self.segments is None:
            return _within(self.lengths, self.time)
        inside = np.zeros((self.size, self.time), bool)
        inside.reshape(-1)[self.segments.steps] = True
        return inside

    @property
    def index(self) -> np.ndarray:
        """Rows of the steps that count, sequence by sequence."""
        return _rows_within(self.base, self.lengths) if self.segments is None else self.segments.rows

    def padded(self, net) -> dict[str, np.ndarray]:
        """(batch, time, features) arrays; tokens one-hot; zero past the lengths."""
        out = {}
        for name, rows in self.arrays.items():
            if is_tokens(net, name):
                rows = np.eye(net.inputs.size)[rows[:, 0]] if len(rows) else np.zeros((0, net.inputs.size))
            full = np.zeros((self.size, self.time, rows.shape[1]), np.result_type(rows, np.float64))
            for b, n in enumerate(self.lengths):
                full[b, :n] = rows[self.base[b] : self.base[b] + n]
            out[name] = full
        return out


def is_tokens(net, name: str) -> bool:
    """Whether an input is rows of tokens; where zeros follow them, they are one-hot."""
    return isinstance(net.inputs, Tokens) and name == "x" and net.feed != "first"
