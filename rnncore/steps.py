"""A network's step as a program: its blocks written as instructions once, to be run by whoever has memory for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .batch import is_tokens
from .bound import Bound
from .combine.blocks import Block, Chain, Join, Loop, reads_backward
from .cpu.advance import ROOM, STATE, X, Y, runner
from .cpu.stepping import Program
from .errors import InputError
from .inputs import Batch, as_state

__all__ = ["Steps", "check_steps"]


def check_steps(net, what: str) -> None:
    """Raise `InputError` for a network that cannot go one step at a time."""
    if reads_backward(net.block):
        raise InputError(f"a network that reads backward in time cannot {what}: it needs the sequence's end first")
    if net.mode == "one-to-many":
        raise InputError(f"a one-to-many network cannot {what}: its vector comes once, call it with steps=")


class Steps:
    """The program of one step of a bound network, for `batch` sequences.

    A run's memory is one array: its first numbers are the states, (batch, size) one after another in the order of
    ``net.state_shapes``; what follows is room to compute in, of no meaning between steps. Inputs of several names lie
    side by side in one array (batch, columns).
    """

    def __init__(self, run: Bound, batch: int, parallel: bool):
        self.run, self.net, self.batch, self.dtype = run, run.net, batch, run.dtype
        net, program = self.net, Program(str(run.dtype), batch, parallel)
        self.program = program
        self.tokens = is_tokens(net, "x") and bool(net.sizes)
        self.columns = 1 if self.tokens else sum(net.fed.values())
        self.x_dtype = np.dtype(np.int64) if self.tokens else self.dtype
        self._states = {path: program.array(STATE, size) for path, (size,) in net.state_shapes.items()}
        self.features = net.features if net.outputs is None else net.outputs
        out = program.array(Y, self.features)
        self._write(out)
        program.finish()
        self._at = {path: program.offset(array) // self.dtype.itemsize for path, array in self._states.items()}
        self.size = -(-program.nbytes // self.dtype.itemsize)
        self.state_size = program.state_bytes // self.dtype.itemsize

    def _write(self, out: np.ndarray) -> None:
        net, program = self.net, self.program
        x = program.array(X, self.columns, self.x_dtype)
        if self.tokens:
            program.tokens(x, net.inputs.size)
        xs = self.parts(x)
        if net.outputs is None:
            self._block(net.block, "", xs, net.fed, out)
            return
        rows = program.array(ROOM, net.block.features(net.fed))
        self._block(net.block, "", xs, net.fed, rows)
        v, c = (self.run.params[name] for name in ("readout.V", "readout.c"))
        program.affine(rows, v, c, out, halved=self.run.weights is not None)

    def parts(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of each input by name."""
        if self.tokens:
            return {"x": x}
        found, at = {}, 0
        for name, size in self.net.fed.items():
            found[name] = x[:, at : at + size]
            at += size
        return found

    # blocks
    def _block(self, block: Block, prefix: str, xs: Mapping[str, np.ndarray], sizes, out: np.ndarray) -> None:
        if isinstance(block, Loop):
            self._loop(prefix, xs, out)
        elif isinstance(block, Join):
            self._join(block, prefix, xs, sizes, out)
        else:
            assert isinstance(block, Chain)
            self._chain(block, prefix, xs, sizes, out)

    def _loop(self, prefix: str, xs, out: np.ndarray) -> None:
        layer, numbers = self.net.loops[prefix]
        states = {s: self._states[prefix + s] for s in layer.step.states}
        tokens = self.tokens and xs.get("x") is not None and xs["x"].dtype.kind == "i"
        self.program.loop(layer, numbers, self.run.loops[prefix], xs, out, states, tokens)

    def _join(self, block: Join, prefix: str, xs, sizes, out: np.ndarray) -> None:
        column = 0
        if block.merge != "concat":
            self.program.copy(np.zeros(out.shape, self.dtype), out)
        for name, inner in zip(block.names, block.blocks):
            width = inner.features(sizes)
            if block.merge == "concat":
                self._block(inner, f"{prefix}{name}.", xs, sizes, out[:, column : column + width])
                column += width
            else:
                part = self.program.array(ROOM, width)
                self._block(inner, f"{prefix}{name}.", xs, sizes, part)
                self.program.add(part, out)
        if block.merge == "mean":
            self.program.scale(out, 1 / len(block.blocks))

    def _chain(self, block: Chain, prefix: str, xs, sizes, out: np.ndarray) -> None:
        for k, inner, read in block.stages(sizes):
            last = k == len(block.blocks) - 1
            to = out if last else self.program.array(ROOM, inner.features(read))
            self._block(inner, f"{prefix}{k}.", xs, read, to)
            if block.residual and k:
                self.program.add(xs["x"], to)
            xs = {**xs, "x": to}

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
