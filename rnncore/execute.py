"""Run a network: its blocks, the readout, and the way back to gradients in the caller's shapes."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .backends import Backend, indexed, namespace
from .errors import InputError
from .inputs import Batch, Tokens, Writing, as_array, as_state
from .kept import loops_of
from .layout import Rows, ragged
from .params import Params
from .passes import Pass
from .vectors import bridge_back, spread_back

__all__ = [
    "Tape", "backward", "backward_rows", "called", "for_caller", "forward", "forward_rows", "infer", "infer_rows",
]  # fmt: skip

_READOUT = "readout.V", "readout.c"


class Tape(ABC):
    """What BPTT needs of a forward pass. ``release()`` or collection gives its memory back.

    Of the network `net`, `size` sequences, outputs of `shape`, and the dtype of its parameters.
    """

    net: Any
    size: int
    shape: tuple[int, ...]
    dtype: np.dtype
    backend: Backend | None = None  # where it is; None: on the host
    released = True  # until there is something

    @abstractmethod
    def release(self) -> None:
        """Give the memory back; the tape is of no further use."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that the tape holds."""

    @abstractmethod
    def back(self, params: Params, dy: np.ndarray | None, dfinal):
        """Adjoints of inputs and initial states in the caller's shapes, and gradients, from that of y."""

    @abstractmethod
    def back_rows(self, params: Params, do: np.ndarray) -> Params:
        """Gradients from the adjoint of the output rows (see `forward_rows`)."""

    def check(self, params: Params) -> None:
        """Raise `InputError` unless there is a way back with these parameters."""
        if self.released:
            raise InputError("the tape has been released: run net.forward again")
        if params.dtype != self.dtype:
            raise InputError(f"the tape was made with {self.dtype} parameters, got {params.dtype}")
        device = "cpu" if self.backend is None else self.backend.device
        if params.device != device:
            raise InputError(f"the tape was made on {device!r}, the parameters are on {params.device!r}")

    def __reduce_ex__(self, protocol):
        raise InputError(
            "a tape cannot be copied or pickled: it is the memory of one forward pass in this process; pickle the "
            "parameters and the inputs, and run net.forward there"
        )

    def __del__(self):
        if not self.released:
            self.release()

    def __repr__(self) -> str:
        return f"<Tape of {self.size} sequences: {'released' if self.released else f'{self.nbytes} bytes'}>"


class _PassTape(Tape):
    """What the loops of a pass kept."""

    def __init__(self, pass_: Pass, node, rows: np.ndarray, batch: Batch, shape: tuple[int, ...]):
        self.pass_, self.node, self.rows, self.batch, self.shape = pass_, node, rows, batch, shape
        self.net, self.size, self.dtype, self.released = pass_.net, batch.size, pass_.dtype, False
        self.backend = batch.backend

    def release(self) -> None:
        if not self.released:
            self.released = True
            for loop in loops_of(self.node):
                loop.release()

    @property
    def nbytes(self) -> int:
        return sum(loop.nbytes for loop in loops_of(self.node))

    def back(self, params, dy, dfinal):
        batch, net, cut = self.batch, self.net, self.batch.out.segments
        rows = dy if dy is None or not net.per_step else dy.reshape(-1, dy.shape[-1])
        if rows is not None and net.per_step and cut is not None:
            rows = rows[indexed(rows, cut.steps)]
        elif rows is not None and net.per_step and net.outputs is not None and not batch.out.full:
            rows = rows[indexed(rows, _user_rows(batch.out).index(batch.out.lengths))]
        dxs, dstarts, grads = _backward(net, params, self, rows, dfinal, want_dx=True)
        dx = _as_given(net, batch, dxs, self.pass_)
        dstarts = {path: dstarts[path] for path in net.state_shapes if path in dstarts}
        return for_caller(batch, dx), for_caller(batch, dstarts), grads

    def back_rows(self, params, do):
        net, written = self.net, self.batch.out
        if net.outputs is None and net.per_step and not written.full and written.segments is None:
            full = self.pass_.backend.zeros((written.size * written.time, net.features), params.dtype)
            full[indexed(full, _user_rows(written).index(written.lengths))] = do
            do = full
        return _backward(net, params, self, do, {}, want_dx=False)[2]


def _start(net, params, batch, training, seed, packed=None, kind=Pass):
    """Run the blocks: pass, tape node, rows that the readout reads or the final output, and where they were put."""
    if batch.out.segments is not None:
        batch = batch.segments.batch(batch, params)
    pass_ = kind(net, params, batch, training, seed, packed)
    rows = Rows(batch.base, 1)
    out = None
    if net.per_step:
        if net.outputs is None and batch.cut is None:
            make = pass_.backend.empty if batch.out.full else pass_.backend.zeros
            array = make((batch.out.size, batch.out.time, net.features), pass_.dtype)
            out = (array.reshape(-1, net.features), 0, _user_rows(batch.out))
        else:
            rows_out = pass_.backend.empty((int(batch.out.lengths.sum()), net.features), pass_.dtype)
            out = (rows_out, 0, ragged(batch.out.lengths))
    end, node = pass_.run(net.block, "", batch.sequences, rows, net.fed, out, out is None)
    return pass_, node, (end if out is None else out[0]), out


def _spread_rows(rows: np.ndarray, batch: Batch | Writing, backend: Backend) -> np.ndarray:
    """Rows sequence by sequence as (batch, time, features), zero past the lengths."""
    if batch.full:
        return rows.reshape(batch.size, batch.time, rows.shape[1])
    y = backend.zeros((batch.size, batch.time, rows.shape[1]), rows.dtype)
    y.reshape(-1, rows.shape[1])[backend.index(_user_rows(batch).index(batch.lengths))] = rows
    return y


def _readout(net, pass_, rows: np.ndarray) -> np.ndarray:
    return rows if net.outputs is None else pass_.affine(rows, *_READOUT)


def _finish(net, pass_, rows, batch):
    o, cut = _readout(net, pass_, rows), batch.out.segments
    if cut is not None:
        return cut.spread(o) if net.per_step else cut.ends(o)
    if not net.per_step:
        return o
    if net.outputs is None:
        return o.reshape(batch.size, batch.out.time, net.features)
    return _spread_rows(o, batch.out, pass_.backend)


def _final(pass_, batch) -> dict[str, np.ndarray]:
    cut = batch.out.segments
    return pass_.final if cut is None else {path: cut.ends(v) for path, v in pass_.final.items()}


def for_caller(batch: Batch, result: Any) -> Any:
    """A result as the kind of array that the caller gave, in mappings and lists too."""
    if batch.shown is None or result is None:
        return result
    if isinstance(result, dict):
        return {name: for_caller(batch, part) for name, part in result.items()}
    return [for_caller(batch, part) for part in result] if isinstance(result, list) else batch.shown(result)


def infer(net, params, batch: Batch, packed=None, seed=None, kind=Pass):
    """Outputs and final state of a call, where the parameters are; `kind` is what a pass is made by."""
    pass_, _, rows, _ = _start(net, params, batch, False, seed, packed, kind)
    return _finish(net, pass_, rows, batch), _final(pass_, batch)


def called(net, params, batch: Batch, packed=None, seed=None):
    """Outputs and final state of a call, as the caller's kind of array."""
    y, final = infer(net, params, batch, packed, seed)
    return (y, final) if batch.shown is None else (for_caller(batch, y), for_caller(batch, final))


def forward(net, params, batch: Batch, seed):
    """As `infer`, with a tape."""
    pass_, node, rows, _ = _start(net, params, batch, True, seed)
    y = _finish(net, pass_, rows, batch)
    tape = _PassTape(pass_, node, rows, batch, y.shape)
    return for_caller(batch, y), for_caller(batch, _final(pass_, batch)), tape


def infer_rows(net, params, batch: Batch):
    """Outputs as rows: one a sequence (many-to-one), or one a step that counts, sequence by sequence."""
    pass_, _, rows, out = _start(net, params, batch, False, None)
    return _output_rows(net, pass_, batch, rows, out), pass_


def forward_rows(net, params, batch: Batch, seed, kind=Pass):
    """As `infer_rows`, with a tape; `kind` is what a pass is made by."""
    if kind is Pass and seed is None:
        found = net.trainings(params.dtype).laid(params, batch, False)
        if found is not None:
            y, final, tape = found
            return tape.rows(y), final, tape
    pass_, node, rows, out = _start(net, params, batch, True, seed, kind=kind)
    o = _output_rows(net, pass_, batch, rows, out)
    return o, _final(pass_, batch), _PassTape(pass_, node, rows, batch, o.shape)


def _output_rows(net, pass_, batch, rows, out):
    o, cut = _readout(net, pass_, rows), batch.out.segments
    if cut is not None:
        return o if net.per_step else cut.ends(o)
    in_order = net.outputs is not None or not net.per_step or batch.out.full
    return o if in_order else o[pass_.backend.index(out[2].index(batch.out.lengths))]


def backward(net, params, tape: Tape, dy, dstate):
    """Gradients in the caller's shapes (see `Network.backward`)."""
    net.check_params(params)
    if not isinstance(tape, Tape):
        raise InputError(f"tape must be what net.forward returned, got {type(tape).__name__}")
    if tape.net is not net and tape.net != net:
        raise InputError(f"the tape is of another network, {tape.net!r}; this one is {net!r}")
    tape.check(params)
    xp = namespace(tape.backend)
    dfinal = as_state(net, tape.size, dstate, tape.backend) or {}
    dfinal = {path: xp.asarray(d, params.dtype) for path, d in dfinal.items()}
    if dy is not None:
        dy = as_array(dy, "dy", backend=tape.backend)
        if dy.shape != tape.shape:
            raise InputError(f"dy must have the shape of y, {tape.shape}, got {dy.shape}")
        if dy.dtype.kind not in "fiub":
            raise InputError(f"dy must be numbers, got {dy.dtype}")
        dy = xp.ascontiguousarray(dy, params.dtype)
    return tape.back(params, dy, dfinal)


def _as_given(net, batch: Batch, dxs, pass_):
    if net.inputs is None or isinstance(net.inputs, Tokens):
        return None
    shaped = {}
    for name, features in net.sizes.items():
        rows = dxs.get(name)
        if rows is None:  # nothing reads this input
            rows = pass_.backend.zeros((len(batch.arrays[name]), features), pass_.dtype)
        if net.feed == "state":
            shaped[name] = rows
        elif net.reads_vectors:
            shaped[name] = spread_back(net, rows.reshape(batch.size, batch.time, rows.shape[1]))
        elif batch.form == "padded":
            shaped[name] = rows.reshape(batch.size, batch.time, rows.shape[1])
        else:
            shaped[name] = [rows[s : s + n] for s, n in zip(batch.base, batch.counts)]
    return next(iter(shaped.values())) if batch.single else shaped


def backward_rows(net, params, tape: Tape, do: np.ndarray) -> Params:
    """Gradients of the parameters from the adjoint of the output rows (see `infer_rows`)."""
    tape.check(params)
    return tape.back_rows(params, do)


def _user_rows(batch: Batch | Writing) -> Rows:
    return Rows(np.arange(batch.size) * batch.time, 1)


def _backward(net, params, tape: _PassTape, do: np.ndarray | None, dfinal, want_dx: bool):
    """`do`: adjoint of what the readout gave; without a readout, of the output in the rows it was written to."""
    pass_ = copy.copy(tape.pass_)  # the tape stays as it is: backward may run again, and from several threads
    pass_.params, pass_.dstate = params, {}
    grads = Params.zeros(net.shapes, params.dtype, params.device)
    ran, cut = pass_.batch, tape.batch.out.segments
    out = _user_rows(ran.out) if net.outputs is None and ran.cut is None else ragged(ran.out.lengths)
    if cut is not None:
        dfinal = {path: cut.ends_back(d) for path, d in dfinal.items()}
        do = do if do is None or net.per_step else cut.ends_back(do)
    if do is not None and net.outputs is not None:
        do = pass_.affine_back(do, tape.rows, *_READOUT, grads)
    dlast = None if net.per_step else do
    dy = None if do is None or not net.per_step else (pass_.backend.xp.ascontiguousarray(do), 0, out)
    want = tuple(net.fed) if want_dx and not isinstance(net.inputs, Tokens) else ()
    dxs = pass_.back(tape.node, dy, dlast, want, grads, dfinal)
    if cut is not None:
        dxs = {name: cut.inputs_back(d, len(tape.batch.arrays[name])) for name, d in dxs.items()}
        pass_.dstate = cut.states_back(pass_.dstate, ran.steady, grads)
    given = tape.batch.state or {}
    for path, d in pass_.dstate.items():
        if path + "0" in grads and path not in given:
            grads[path + "0"][...] += d.sum(0)
    if net.feed == "state":
        dxs = {"x": bridge_back(pass_, tape.batch, pass_.dstate, grads)}
    return dxs, pass_.dstate, grads
