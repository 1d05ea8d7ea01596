"""Training steps as programs: what one of a shape prepares is the same at the next one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from .cpu import memory
from .cpu.memory import address_of, take
from .execute import Tape
from .inputs import Batch, as_lengths
from .layout import Rows
from .params import Params
from .training_steps import ForwardSteps
from .whole import Shapes, side_by_side, with_stride

__all__ = ["Trainings", "WholeTape"]

Arrays = Mapping[str, np.ndarray]


class WholeTape(Tape):
    """What a program kept of a forward pass, in one piece of memory."""

    def __init__(
        self, whole: Training, x: np.ndarray, given: Arrays, single: bool, time: int, lengths: np.ndarray | None
    ):
        self.whole, self.x, self.given, self.single = whole, x, tuple(given), single
        self.time, self.lengths, self.strided = time, lengths, with_stride(lengths, time)
        self.kept = take(whole.tape_bytes, same=True)
        self.released, self.shape = False, whole.steps.shape(time)
        self.net, self.dtype, self.size = whole.net, whole.dtype, whole.batch

    def places(self, y: np.ndarray, params: Params) -> tuple[int, ...]:
        """Where a program finds inputs, outputs or their adjoints, lengths, parameters, and what is kept."""
        return (*map(address_of, (self.x, y, self.strided, params.flat)), self.kept.address)

    def release(self) -> None:
        if not self.released:
            self.released = True
            self.kept.give_back()

    @property
    def nbytes(self) -> int:
        return 0 if self.released else self.kept.nbytes

    def back(self, params, dy, dfinal):
        return self.whole.backward(params, self, dy, dfinal)

    def back_rows(self, params, do):
        if self.inside is not None:
            dy = memory.empty(self.shape, self.dtype)  # past the lengths nobody reads it
            dy.reshape(-1, self.shape[-1])[self.inside] = do
            do = dy
        return self.whole.backward(params, self, do, {})[2]

    @cached_property
    def inside(self) -> np.ndarray | None:
        """Rows of the steps within the lengths, sequence by sequence; None where all are read."""
        if self.lengths is None or not self.net.per_step:
            return None
        return Rows(np.arange(self.size) * self.time, 1).index(self.lengths)

    def rows(self, y: np.ndarray) -> np.ndarray:
        """What was put out as rows: of each sequence, or of each step that counts, sequence by sequence."""
        rows = y.reshape(-1, y.shape[-1])
        return rows if self.inside is None else rows[self.inside]


class Training:
    """The programs of training steps of one shape: any number of threads may run them at once.

    With lengths, calls may have fewer steps than `time`.
    """

    def __init__(self, net, dtype: np.dtype, batch: int, time: int, varied: bool, want: bool):
        self.net, self.dtype, self.batch = net, dtype, batch
        self.steps = steps = ForwardSteps(net, dtype, batch, time, want, varied)
        self._forth, self._back = steps.program, steps.back.program
        self.tape_bytes = self._forth.tape_bytes
        self._room = max(self._forth.nbytes, self._back.nbytes)  # one size: the same memory serves both
        self._want = want and not steps.tokens
        self._learned = tuple(path for path in net.state_shapes if path + "0" in net.shapes)
        self.short = self._forth.short and self._back.short
        self.used = 0

    def forward(self, params: Params, arrays: Arrays, state: Arrays | None, single: bool, time: int, lengths=None):
        """Outputs, final state and tape of inputs by name, C-contiguous; None where a token is out of range."""
        x, given = side_by_side(self.steps, arrays, time), state or {}
        tape = WholeTape(self, x, given, single, time, lengths)
        y = memory.empty(tape.shape, self.dtype)
        room = take(self._room, same=True)
        try:
            views = self._states(room)
            for path in self._learned:
                views[path][...] = params[path + "0"]
            for path, value in given.items():
                views[path][...] = value
            if self._forth.once(room.address, *tape.places(y, params)):
                return None
            return y, {path: view.copy() for path, view in views.items()}, tape
        finally:
            room.give_back()

    def backward(self, params: Params, tape: WholeTape, dy: np.ndarray | None, dfinal: Arrays):
        """Adjoints of inputs, by name or alone, and of initial states, and gradients (see `Network.backward`)."""
        steps, grads = self.steps, params.with_flat(memory.zeros(params.flat.shape, self.dtype))
        dy = memory.zeros(tape.shape, self.dtype) if dy is None else dy
        dx = memory.empty((self.batch * tape.time, steps.columns), self.dtype) if self._want else None
        room = take(self._room, same=True)
        try:
            views = self._states(room)
            for path, value in dfinal.items():
                views[path][...] = value
            to = 0 if dx is None else address_of(dx), address_of(grads.flat)
            self._back.once(room.address, *tape.places(dy, params), *to)
            dstate = {path: view.copy() for path, view in views.items()}
        finally:
            room.give_back()
        for path in self._learned:
            if path not in tape.given:
                grads[path + "0"][...] += dstate[path].sum(0)
        return None if dx is None else self._shaped(dx, tape), dstate, grads

    def _states(self, room) -> dict[str, np.ndarray]:
        states = room.array((self.steps.state_size,), self.dtype)
        states.fill(0)
        return self.steps.states(states)

    def _shaped(self, dx: np.ndarray, tape: WholeTape):
        if len(self.net.sizes) == 1 and tape.single:
            return dx.reshape(self.batch, tape.time, -1)
        parts = self.steps.parts(dx).items()
        return {name: np.ascontiguousarray(d).reshape(self.batch, tape.time, -1) for name, d in parts}


class Trainings(Shapes):
    """The programs of a network's training steps, for one dtype."""

    def write(self, batch: int, time: int, *which: bool) -> Training:
        """Of sequences with lengths or full ones, with adjoints of inputs or without."""
        return Training(self.net, self.dtype, batch, time, *which)

    def plain(self, params: Params, x: np.ndarray, lengths):
        """As of `Training.forward`, of an array that is ready (see `takes`); None: the long way."""
        batch, time = x.shape[:2]
        if lengths is not None:
            lengths = as_lengths(lengths, batch, time)
        whole = self.of(batch, time, lengths is not None, True)
        return None if whole is None else whole.forward(params, {self.names[0]: x}, None, True, time, lengths)

    def laid(self, params: Params, batch: Batch, want: bool):
        """As of `Training.forward`, of a batch; None: the long way."""
        others = (batch.lesson, batch.checkpoint, batch.writing, batch.segments, batch.backend)
        if batch.form != "padded" or any(one is not None for one in others) or not self.fit:
            return None
        whole = self.of(batch.size, batch.time, not batch.full, want)
        given = batch.arrays, batch.state, batch.single, batch.time, None if batch.full else batch.lengths
        return None if whole is None else whole.forward(params, *given)
