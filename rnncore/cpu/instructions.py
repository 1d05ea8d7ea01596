"""Programs: lists of instructions for a runner that knows no network, and the memory that they name.

A program names memory by its place: in the state, in the room to work in, in the input, in the output, and so on. Where
these lie is said by each call, so any number of threads may run one program, each in memory of its own.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from functools import partial

import numpy as np

from .advance import ADD, CALL, COPY, FIXED, LOADED, PLACES, ROOM, ROWS, SCALE, STATE, TAPE, WORDS, X, Y, runner
from .memory import Buffer, address_of
from .pool import with_team

__all__ = ["ALIGN", "Instructions", "NotWritten", "Run"]

ALIGN = 64
_LARGE = 2**16  # bytes
_SHORT_FLOPS = 1e6  # what is shorter keeps the interpreter's lock: another thread may hold what was let go for 5 ms


def _standing(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """An array of zeros that is there for its address: a large one takes no memory until something is written."""
    nbytes = shape[0] * shape[1] * dtype.itemsize
    if nbytes < _LARGE:
        return np.zeros(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, nbytes), dtype).reshape(shape)


Listed = np.ndarray | int  # rows by their numbers, or 0: as they are


class NotWritten(Exception):
    """There is no program of this: it goes the long way."""


class Instructions:
    """Instructions, and how much memory each place needs.

    `array` makes arrays that stand for places while the program is written; any other array that an instruction is
    given is itself what it reads or writes, and is kept. `finish` ends the writing. A program that is written `beside`
    another one knows the arrays that stand for the same places in that one.
    """

    def __init__(self, dtype: str, rows: int, beside: Instructions | None = None):
        """`rows`: of an array, where nothing else is said."""
        self.dtype, self._many_rows = np.dtype(dtype), rows
        self.flops = self.workers = 0
        self._code: list[list[int]] = []
        self._bytes = dict.fromkeys(range(PLACES), 0) | {ROOM: -(-8 * PLACES // ALIGN) * ALIGN}
        self._ranges: list[tuple[int, int, int, int]] = []  # first and last address, place, offset in it
        if beside is not None:
            self._ranges += [one for one in beside._ranges if one[2] not in (STATE, ROOM, Y)]
        self._lent: list[Buffer] = []
        self._held: list[object] = []

    # places
    def array(self, kind: int, columns: int, dtype=None, rows: int | None = None) -> np.ndarray:
        """A new array of a place, (rows, columns)."""
        shape = self._many_rows if rows is None else rows, columns
        made = _standing(shape, np.dtype(dtype or self.dtype))
        self._place(address_of(made), made.nbytes, kind)
        self._held.append(made)
        return made

    def ints(self, n: int, kind: int = ROOM) -> np.ndarray:
        """New integers of a place."""
        return self.array(kind, n, np.int64, rows=1)[0]

    def _place(self, address: int, nbytes: int, kind: int) -> None:
        self._ranges.append((address, address + nbytes, kind, self._bytes[kind]))
        self._bytes[kind] += nbytes if kind in (STATE, X, Y) else -(-nbytes // ALIGN) * ALIGN

    def _lend(self, buffer: Buffer, kind: int = ROOM) -> None:
        self._lent.append(buffer)
        self._place(buffer.address, buffer.nbytes, kind)

    def _where(self, address: int) -> tuple[int, int]:
        for first, end, kind, offset in self._ranges:
            if first <= address < end:
                return kind, offset + address - first
        return FIXED, address

    def _of(self, value: int | np.ndarray) -> tuple[int, int]:
        """Where an array lies; a number as itself."""
        if not isinstance(value, np.ndarray):
            return FIXED, int(value)
        kind, at = self._where(address_of(value))
        if kind == FIXED:
            self._held.append(value)
        return kind, at

    def _reserve(self, nbytes: int) -> int:
        at = self._bytes[ROOM]
        self._bytes[ROOM] += -(-nbytes // ALIGN) * ALIGN
        return at

    def offset(self, array: np.ndarray) -> int:
        """Bytes from the beginning of its place to an array."""
        return self._where(address_of(array))[1]

    # instructions
    def _put(self, *words: int) -> None:
        self._code.append([*words, *[0] * (WORDS - len(words))])

    def _rows(
        self, how: int, source: np.ndarray, target: np.ndarray, by_source: Listed, by_target: Listed,
        many: tuple[int, int], factor: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Do something to `many` rows: those that lists name, or as many from the first on, where these are 0."""
        columns, at = min(source.shape[1], target.shape[1]), 0 if factor is None else self._of(factor)[1]
        self._put(ROWS, how, *self._of(source), source.strides[0], *self._of(target), target.strides[0], *many,
                  columns, at, *self._of(by_source), *self._of(by_target))  # fmt: skip

    def _listed(self, rows: int, turned: bool = False) -> tuple[Listed, tuple[int, int]]:
        """Which of the rows of an array count, 0 where all do, and how many; `turned`: backward in time."""
        return 0, (FIXED, rows)

    def _each(self, how: int, source: np.ndarray, target: np.ndarray, turned: bool, factor=None) -> None:
        listed, many = self._listed(len(target))
        self._rows(how, source, target, self._listed(len(target), True)[0] if turned else listed, listed, many, factor)

    def copy(self, source: np.ndarray, target: np.ndarray, turned: bool = False) -> None:
        """target = source, row by row; `turned`: backward in time within each sequence."""
        self._each(COPY, source, target, turned)

    def add(self, source: np.ndarray, target: np.ndarray, turned: bool = False) -> None:
        """target += source (see `copy`)."""
        self._each(ADD, source, target, turned)

    def scale(self, target: np.ndarray, factor: float) -> None:
        """target *= factor."""
        self._each(SCALE, target, target, False, np.array([factor], self.dtype))

    def zero(self, target: np.ndarray) -> None:
        """target = 0: an array of a row, or of rows side by side."""
        if target.nbytes:
            self.own("zero", target, target.nbytes)

    def library(self, function: int, *given: int | np.ndarray | tuple[int, int]) -> None:
        """Call a function in the manner of `rnncore.cpu.library`; an array is the address of what it stands for."""
        table = np.zeros((WORDS, 2), np.int64)
        table[: len(given)] = [one if isinstance(one, tuple) else self._of(one) for one in given]
        self._held.append(table)
        self._put(CALL, function, address_of(table))

    def own(self, name: str, *given: int | np.ndarray | tuple[int, int]) -> None:
        """Call a function of programs (see `rnncore.cpu.advance.runner`)."""
        self.library(runner(str(self.dtype)).functions[name], *given)

    def loaded(self, array: np.ndarray) -> tuple[int, int]:
        """The integer that an array begins with."""
        kind, offset = self._of(array)
        return LOADED + kind, offset

    def finish(self) -> None:
        """End the writing: let go of what stood for places, and fix the program's `address` and `nbytes`."""
        text = np.array([[len(self._code), self._bytes[STATE]]], np.int64).ravel()
        self._text = np.concatenate([text, np.array(self._code, np.int64).ravel()])
        self.address = address_of(self._text)
        self.state_bytes, self.tape_bytes = self._bytes[STATE], self._bytes[TAPE]
        self.nbytes = self.state_bytes + self._bytes[ROOM] + ALIGN
        for buffer in self._lent:
            buffer.drop()
        self._lent.clear()
        run = runner(str(self.dtype))
        self.short = self.flops < _SHORT_FLOPS
        self._go = run.held if self.short else run.go

    def runs(self, record: np.ndarray) -> Callable[[], int]:
        """What runs it: `record` holds the program's address, two numbers, and where its places are (see `once`)."""
        alone = partial(self._go, address_of(record))

        def together(boxes: int, workers: int) -> int:
            record[1:3] = boxes, workers
            return alone()

        return alone if self.short else partial(with_team, self.workers + 1, together)

    def once(self, *places: int) -> int:
        """Run it: addresses of memory (see `Run`), of input and output, and of the places after these, in order."""
        record = np.array([self.address, 0, 0, *places, *[0] * (PLACES - 2 - len(places))], np.int64)
        return self.runs(record)()


class Run:
    """A program with its memory, input and output, for one thread at a time.

    As long as it is kept, ``go()`` makes one step. It returns 1, with nothing written, where a token is out of range,
    else 0.
    """

    def __init__(self, program: Instructions, memory: np.ndarray, x: np.ndarray | None = None, y=None):
        places = [0 if a is None else address_of(a) for a in (memory, x, y)]
        record = np.array([program.address, 0, 0, *places, *[0] * (PLACES - 5)], np.int64)
        self._held = program, memory, x, y, record
        self.go = program.runs(record)
