"""A network's steps as a program: its blocks written as instructions once, to be run by whoever has memory for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .combine.blocks import Block, Chain, Join, Loop, Reverse, reads_backward
from .cpu.advance import ROOM, STATE, X, Y, runner
from .cpu.run import LoopTape
from .cpu.stepping import NotWritten, Program, Readout
from .errors import InputError
from .inputs import as_state
from .layout import Rows

__all__ = ["Steps", "check_steps", "each", "ends"]

Arrays = Mapping[str, np.ndarray]
Out = tuple[np.ndarray, Rows | None]


def check_steps(net, what: str) -> None:
    """Raise `InputError` for a network that cannot go one step at a time."""
    if reads_backward(net.block):
        raise InputError(f"a network that reads backward in time cannot {what}: it needs the sequence's end first")
    if net.mode == "one-to-many":
        raise InputError(f"a one-to-many network cannot {what}: its vector comes once, call it with steps=")


def ends(program: Program, array: np.ndarray) -> np.ndarray:
    """The last step of each sequence."""
    if program.varied:
        raise NotWritten
    return array[program.time - 1 :: program.time]


def each(instruction: Callable, array: np.ndarray, other: Out, back: bool = False) -> None:
    """An instruction from an array to `other`, in its order of steps; with `back`, from `other` to the array."""
    pair = (other[0], array) if back else (array, other[0])
    if other[1] is None or other[1].step > 0:
        instruction(*pair)
    else:
        instruction(*pair, turned=True)


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

    place: int = ROOM  # of what blocks hand on
    keep: int | None = None  # place of what BPTT needs

    def __init__(self, run: Any, batch: int, parallel: bool, time: int | None = None, varied: bool = False):
        self.run, self.net, self.batch, self.dtype = run, run.net, batch, run.dtype
        net, steps = self.net, 1 if time is None else time
        self.program = program = Program(str(run.dtype), batch, parallel, steps, varied, self.place)
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
        read = out if net.outputs is None else self._room(net.block.features(net.fed), many)
        self._block(net.block, "", self.parts(x), program.rows, net.fed, (read, rows))
        if net.outputs is not None:
            program.affine(read, self._readout(), out)
        if rows is not None:
            program.clear(out)

    def shape(self, time: int) -> tuple[int, ...]:
        """Of what comes out of whole sequences of so many steps."""
        return (self.batch, time, self.features) if self.net.per_step else (self.batch, self.features)

    def parts(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of each input by name."""
        if self.tokens:
            return {"x": x}
        found, at = {}, 0
        for name, size in self.net.fed.items():
            found[name] = x[:, at : at + size]
            at += size
        return found

    def _room(self, columns: int, rows: int | None = None) -> np.ndarray:
        """An array for what blocks hand on."""
        return self.program.array(self.place, columns, rows=rows)

    def _prepared(self, prefix: str):
        return self.run.loops[prefix]

    def _readout(self) -> Readout:
        return self.run.readout

    # blocks: `out` is an array and the rows of each step in it, or, for the final output alone, None
    def _block(self, block: Block, prefix: str, xs: Arrays, rows: Rows, sizes, out: Out):
        """Write a block; what the way back needs of it."""
        if isinstance(block, Loop):
            return self._loop(prefix, xs, rows, out)
        if isinstance(block, Reverse):
            backward = None if out[1] is None else self.program.reversed(out[1])
            return self._block(block.block, prefix, xs, self.program.reversed(rows), sizes, (out[0], backward))
        if isinstance(block, Join):
            return self._join(block, prefix, xs, rows, sizes, out)
        assert isinstance(block, Chain)
        return self._chain(block, prefix, xs, rows, sizes, out)

    def _loop(self, prefix: str, xs: Arrays, rows: Rows, out: Out) -> LoopTape | None:
        (layer, numbers), program = self.net.loops[prefix], self.program
        step = layer.step
        states = {s: self._states[prefix + s] for s in step.states}
        tokens = self.tokens and xs.get("x") is not None and xs["x"].dtype.kind == "i"
        given = layer, numbers, self._prepared(prefix), xs, rows
        if out[1] is not None:
            return program.loop(*given, out, states, tokens, keep=self.keep)
        if step.separate_output:
            own = program.array(ROOM, numbers[step.output.shape[0]])
            tape = program.loop(*given, (own, program.rows), states, tokens, keep=self.keep)
            program.copy(ends(program, own), out[0])
        else:
            tape = program.loop(*given, None, states, tokens, keep=self.keep)
            program.copy(states[step.output_state], out[0])
        return tape

    def _join(self, block: Join, prefix: str, xs: Arrays, rows: Rows, sizes, out: Out) -> list:
        column, (target, order), kept = 0, out, []
        total, inside = target, None if order is None else self.program.rows
        if block.merge != "concat":
            if order is not None and order.step < 0:
                total = self.program.array(ROOM, target.shape[1])
            self.program.copy(np.broadcast_to(np.zeros(total.shape[1], self.dtype), total.shape), total)
        for name, inner in zip(block.names, block.blocks):
            width = inner.features(sizes)
            if block.merge == "concat":
                part = target[:, column : column + width]
                kept.append(self._block(inner, f"{prefix}{name}.", xs, rows, sizes, (part, order)))
                column += width
            else:
                part = self.program.array(ROOM, width, rows=len(total))
                kept.append(self._block(inner, f"{prefix}{name}.", xs, rows, sizes, (part, inside)))
                self.program.add(part, total)
        if block.merge == "mean":
            self.program.scale(total, 1 / len(block.blocks))
        if total is not target:
            each(self.program.copy, total, out)
        return kept

    def _chain(self, block: Chain, prefix: str, xs: Arrays, rows: Rows, sizes, out: Out) -> tuple[list, Rows | None]:
        """What is kept of the blocks, and the order that the inputs were turned from, if they were."""
        kept, turned = [], None
        if len(xs) > 1 and rows.step < 0:  # later blocks read what was turned together with what was not
            xs, turned, rows = self._turned(xs, rows), rows, self.program.rows
        for k, inner, read in block.stages(sizes):
            last = k == len(block.blocks) - 1
            to = out if last else (self._room(inner.features(read)), self.program.rows)
            kept.append(self._block(inner, f"{prefix}{k}.", xs, rows, read, to))
            if block.residual and k:
                before = ends(self.program, xs["x"]) if to[1] is None else xs["x"]
                each(self.program.add, before, to)
            if not last:
                xs, rows = {**xs, "x": to[0]}, self.program.rows
        return kept, turned

    # rows in an order of time
    def _turned(self, xs: Arrays, rows: Rows) -> dict[str, np.ndarray]:
        turned = {name: self._room(x.shape[1]) for name, x in xs.items()}
        for name, x in xs.items():
            each(self.program.copy, turned[name], (x, rows), back=True)
        return turned

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
        return as_state(self.net, self.batch, state)

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
