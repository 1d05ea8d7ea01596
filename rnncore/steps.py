"""A network's steps as a program: its blocks written as instructions once, to be run by whoever has memory for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .bound import Bound
from .combine.blocks import Block, Chain, Join, Loop, Reverse, reads_backward
from .cpu.advance import ROOM, STATE, X, Y, runner
from .cpu.stepping import Program
from .errors import InputError
from .inputs import Batch, as_state
from .layout import Rows

__all__ = ["NotWritten", "Steps", "check_steps"]

Arrays = Mapping[str, np.ndarray]
Out = tuple[np.ndarray, Rows | None]


def check_steps(net, what: str) -> None:
    """Raise `InputError` for a network that cannot go one step at a time."""
    if reads_backward(net.block):
        raise InputError(f"a network that reads backward in time cannot {what}: it needs the sequence's end first")
    if net.mode == "one-to-many":
        raise InputError(f"a one-to-many network cannot {what}: its vector comes once, call it with steps=")


class NotWritten(Exception):
    """There is no program of this: it goes the long way."""


class Steps:
    """The program of one step of a bound network, for `batch` sequences, or of all of their `time` steps.

    A run's memory is one array: its first numbers are the states, (batch, size) one after another in the order of
    ``net.state_shapes``; what follows is room to compute in, of no meaning between runs. Inputs of several names lie
    side by side in one array (batch * time, columns). Of whole sequences, a network that gives one output a sequence
    gives that; step by step it gives one at each. Where sequences are `varied`, each run brings their lengths.

    Raises
    ------
    NotWritten
        The network does with lengths what programs do not.
    """

    def __init__(self, run: Bound, batch: int, parallel: bool, time: int | None = None, varied: bool = False):
        self.run, self.net, self.batch, self.dtype = run, run.net, batch, run.dtype
        net, program = self.net, Program(str(run.dtype), batch, parallel, 1 if time is None else time, varied)
        self.program = program
        self.tokens = run.tokens
        self.columns = 1 if self.tokens else sum(net.fed.values())
        self.x_dtype = np.dtype(np.int64) if self.tokens else self.dtype
        self._states = {path: program.array(STATE, size, rows=batch) for path, (size,) in net.state_shapes.items()}
        self.features = net.features if net.outputs is None else net.outputs
        ends = time is not None and not net.per_step
        self._write(batch if ends else batch * program.time, None if ends else program.rows)
        program.finish()
        self._at = {path: program.offset(array) // self.dtype.itemsize for path, array in self._states.items()}
        self.size = -(-program.nbytes // self.dtype.itemsize)
        self.state_size = program.state_bytes // self.dtype.itemsize

    def _write(self, many: int, rows: Rows | None) -> None:
        net, program = self.net, self.program
        out = program.array(Y, self.features, rows=many)
        x = program.array(X, self.columns, self.x_dtype)
        if self.tokens:
            program.tokens(x, net.inputs.size)
        read = out if net.outputs is None else program.array(ROOM, net.block.features(net.fed), rows=many)
        self._block(net.block, "", self.parts(x), program.rows, net.fed, (read, rows))
        if net.outputs is not None:
            program.affine(read, self.run.readout, out, rows is not None)
        if program.varied and rows is not None:
            program.own("clear", out, out.strides[0], program.lengths, self.batch, program.time)

    def parts(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of each input by name."""
        if self.tokens:
            return {"x": x}
        found, at = {}, 0
        for name, size in self.net.fed.items():
            found[name] = x[:, at : at + size]
            at += size
        return found

    # blocks: `out` is an array and the rows of each step in it, or, for the final output alone, None
    def _block(self, block: Block, prefix: str, xs: Arrays, rows: Rows, sizes, out: Out) -> None:
        if isinstance(block, Loop):
            self._loop(prefix, xs, rows, out)
        elif isinstance(block, Reverse):
            backward = None if out[1] is None else self.program.reversed(out[1])
            self._block(block.block, prefix, xs, self.program.reversed(rows), sizes, (out[0], backward))
        elif isinstance(block, Join):
            self._join(block, prefix, xs, rows, sizes, out)
        else:
            assert isinstance(block, Chain)
            self._chain(block, prefix, xs, rows, sizes, out)

    def _loop(self, prefix: str, xs: Arrays, rows: Rows, out: Out) -> None:
        (layer, numbers), program = self.net.loops[prefix], self.program
        step = layer.step
        states = {s: self._states[prefix + s] for s in step.states}
        tokens = self.tokens and xs.get("x") is not None and xs["x"].dtype.kind == "i"
        given = layer, numbers, self.run.loops[prefix], xs, rows
        if out[1] is not None:
            program.loop(*given, out, states, tokens)
        elif step.separate_output:
            own = program.array(ROOM, numbers[step.output.shape[0]])
            program.loop(*given, (own, program.rows), states, tokens)
            program.copy(self._ends(own), out[0])
        else:
            program.loop(*given, None, states, tokens)
            program.copy(states[step.output_state], out[0])

    def _join(self, block: Join, prefix: str, xs: Arrays, rows: Rows, sizes, out: Out) -> None:
        column, (target, order) = 0, out
        total, inside = target, None if order is None else self.program.rows
        if block.merge != "concat":
            if order is not None and order.step < 0:
                total = self.program.array(ROOM, target.shape[1])
            self.program.copy(np.broadcast_to(np.zeros(total.shape[1], self.dtype), total.shape), total)
        for name, inner in zip(block.names, block.blocks):
            width = inner.features(sizes)
            if block.merge == "concat":
                part = target[:, column : column + width]
                self._block(inner, f"{prefix}{name}.", xs, rows, sizes, (part, order))
                column += width
            else:
                part = self.program.array(ROOM, width, rows=len(total))
                self._block(inner, f"{prefix}{name}.", xs, rows, sizes, (part, inside))
                self.program.add(part, total)
        if block.merge == "mean":
            self.program.scale(total, 1 / len(block.blocks))
        if total is not target:
            self._each(self.program.copy, total, out)

    def _chain(self, block: Chain, prefix: str, xs: Arrays, rows: Rows, sizes, out: Out) -> None:
        if len(xs) > 1 and rows.step < 0:  # later blocks read what was turned together with what was not
            xs, rows = self._turned(xs, rows), self.program.rows
        for k, inner, read in block.stages(sizes):
            last = k == len(block.blocks) - 1
            to = out if last else (self.program.array(ROOM, inner.features(read)), self.program.rows)
            self._block(inner, f"{prefix}{k}.", xs, rows, read, to)
            if block.residual and k:
                self._each(self.program.add, self._ends(xs["x"]) if to[1] is None else xs["x"], to)
            if not last:
                xs, rows = {**xs, "x": to[0]}, self.program.rows

    # rows in an order of time
    def _ends(self, array: np.ndarray) -> np.ndarray:
        """The last step of each sequence."""
        if self.program.varied:
            raise NotWritten
        return array[self.program.time - 1 :: self.program.time]

    def _turned(self, xs: Arrays, rows: Rows) -> dict[str, np.ndarray]:
        turned = {name: self.program.array(ROOM, x.shape[1]) for name, x in xs.items()}
        for name, x in xs.items():
            self._each(self.program.copy, turned[name], (x, rows), back=True)
        return turned

    def _each(self, instruction: Callable, array: np.ndarray, other: Out, back: bool = False) -> None:
        """An instruction from an array to `other`, in its order of steps; with `back`, from `other` to the array."""
        time = self.program.time
        pairs = [(array, other[0])]
        if other[1] is not None and other[1].step < 0:
            if self.program.varied:
                raise NotWritten
            at = [slice(b * time, (b + 1) * time) for b in range(self.batch)]
            pairs = [(array[k], other[0][k][::-1]) for k in at]
        for pair in pairs:
            instruction(*pair[::-1] if back else pair)

    # a run's memory
    def states(self, memory: np.ndarray) -> dict[str, np.ndarray]:
        """The states by name, (batch, size), as views."""
        found = {}
        for path, (size,) in self.net.state_shapes.items():
            at = self._at[path]
            found[path] = memory[at : at + self.batch * size].reshape(self.batch, size)
        return found

    def checked(self, state) -> dict[str, np.ndarray] | None:
        """Given states, checked (see `as_state`)."""
        lengths = np.zeros(self.batch, np.int64)
        return as_state(self.net, Batch({}, lengths, lengths, 0, "padded", True), state)

    def begin(self, memory: np.ndarray, given: Mapping[str, np.ndarray] | None) -> None:
        """Set the states to those given, the others to what sequences start from."""
        for path, view in self.states(memory).items():
            learned = path + "0"
            start = self.run.params[learned] if learned in self.run.params else 0
            view[...] = given[path] if given is not None and path in given else start

    @property
    def runner(self):
        """What runs the program."""
        return runner(str(self.dtype))
