"""Run a network: its blocks in order, their loops on the CPU, the readout, and the way back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .combine.blocks import Block, Chain, Join, Loop, Reverse
from .cpu.dense import affine, affine_backward

from .cpu.run import Layout, Rows, layout_of, loop_backward, loop_forward, prepare
from .errors import InputError
from .inputs import Batch, Tokens, as_batch, as_state
from .params import Params

__all__ = ["infer", "forward", "backward", "infer_rows", "forward_rows", "backward_rows", "Bound", "Stream", "Tape"]

Arrays = Mapping[str, np.ndarray]


@dataclass(eq=False)
class Tape:
    """What BPTT needs of a forward pass. ``release()`` or collection gives its memory back."""

    pass_: Any
    node: Any
    rows: np.ndarray | None
    batch: Batch
    shape: tuple[int, ...]
    flat: np.ndarray
    released: bool = False

    def release(self) -> None:
        """Give the memory back; the tape is of no further use."""
        if not self.released:
            self.released = True
            _release(self.node)

    @property
    def nbytes(self) -> int:
        """Bytes that the tape holds."""
        return sum(b.nbytes for b in _buffers(self.node))

    def __del__(self):
        self.release()

    def __repr__(self) -> str:
        return f"<Tape of {self.batch.size} sequences: {'released' if self.released else f'{self.nbytes} bytes'}>"


@dataclass(eq=False)
class _Kept:
    """A block's part of the tape."""

    block: Block
    inner: list = field(default_factory=list)
    extra: dict = field(default_factory=dict)


def _loops(node):
    if isinstance(node, _Kept):
        for part in node.inner:
            yield from _loops(part)
    elif node is not None:
        yield node


def _buffers(node):
    for loop in _loops(node):
        yield from loop.buffers.values()


def _release(node) -> None:
    for loop in _loops(node):
        loop.release()


class _Pass:
    """One forward pass: lengths, layout, states; `packed` holds weights packed before (``bind``)."""

    def __init__(self, net, params: Arrays, batch: Batch, training: bool, seed, packed=None):
        self.net, self.params, self.batch, self.training = net, params, batch, training
        self.layout: Layout = layout_of(batch.lengths, batch.full)
        self.lengths = batch.lengths
        self.dtype = params.dtype if isinstance(params, Params) else packed.dtype
        self.rng = np.random.default_rng(seed) if seed is not None else None
        self.packed = packed
        self.final: dict[str, np.ndarray] = {}
        self.total = int(self.lengths.sum())

    def ragged(self) -> Rows:
        """Sequences one after another, without padding."""
        return Rows(np.cumsum(self.lengths) - self.lengths, 1)

    def start(self, prefix: str, states) -> dict[str, np.ndarray]:
        given = self.batch.state or {}
        found = {}
        for s in states:
            path = prefix + s
            if path in given:
                found[s] = given[path]
            elif path + "0" in self.params:
                found[s] = np.broadcast_to(self.params[path + "0"], (len(self.lengths), len(self.params[path + "0"])))
        return found

    # forward: returns (last output or None, tape part)
    def run(self, block: Block, prefix: str, xs: Arrays, rows: Rows, sizes, out, last: bool):
        if isinstance(block, Loop):
            return self._loop(block, prefix, xs, rows, sizes, out, last)
        if isinstance(block, Reverse):
            if out is not None:
                out = (out[0], out[1], out[2].reversed(self.lengths))
            return self.run(block.block, prefix, xs, rows.reversed(self.lengths), sizes, out, last)
        if isinstance(block, Join):
            return self._join(block, prefix, xs, rows, sizes, out, last)
        assert isinstance(block, Chain)
        return self._chain(block, prefix, xs, rows, sizes, out, last)

    def _loop(self, block, prefix, xs, rows, sizes, out, last):
        layer, numbers = self.net.loops[prefix]
        step = layer.step
        tokens = isinstance(self.net.inputs, Tokens) and xs.get("x") is self.batch.arrays.get("x")
        own: np.ndarray | None = None
        if step.separate_output and last and out is None:
            own = np.empty((self.total, numbers[step.output.shape[0]]), self.dtype)
            out = (own, 0, self.ragged())
        which = "forward" if self.training else "infer"
        if self.packed is not None:
            prepared = self.packed.loops[prefix]
        else:
            view = {p.name: self.params[prefix + p.name] for p in step.params}
            prepared = prepare(layer, which, view, numbers, str(self.dtype))
        state = self.start(prefix, step.states)
        final, tape = loop_forward(layer, numbers, prepared, self.layout, xs, rows, state, out, self.training, tokens)
        if self.packed is None:
            prepared.weights.release()
        self.final |= {prefix + s: v for s, v in final.items()}
        end = None
        if last:
            end = final[step.states[0]]
            if step.separate_output:
                end = _last_rows(out, self.lengths, numbers[step.output.shape[0]])
        if tape is None:
            return end, None
        return end, _Kept(block, [tape], {"prefix": prefix, "separate": step.separate_output})

    def _join(self, block: Join, prefix, xs, rows, sizes, out, last):
        kept, ends, column = _Kept(block), [], 0
        merged = block.merge != "concat" and out is not None
        total = np.zeros((self.total, block.features(sizes)), self.dtype) if merged else None
        for name, inner in zip(block.names, block.blocks):
            to = None if out is None else (out[0], out[1] + column, out[2])
            if total is not None:
                to = (np.empty_like(total), 0, self.ragged())
            end, part = self.run(inner, f"{prefix}{name}.", xs, rows, sizes, to, last)
            if total is not None and to is not None:
                total += to[0]
            if block.merge == "concat":
                column += inner.features(sizes)
            ends.append(end)
            kept.inner.append(part)
        scale = 1 / len(block.blocks) if block.merge == "mean" else 1
        if total is not None:
            _put(out, total * self.dtype.type(scale), self.lengths)
        kept.extra = {"prefix": prefix, "sizes": sizes, "scale": scale}
        if not last:
            return None, kept
        end = np.concatenate(ends, 1) if block.merge == "concat" else sum(ends) * self.dtype.type(scale)
        return end, kept

    def _chain(self, block: Chain, prefix, xs, rows, sizes, out, last):
        kept = _Kept(block, [], {"prefix": prefix, "stages": [], "rows": rows})
        many = len(block.blocks)
        if len(xs) > 1:
            xs, rows = self._compact(xs, rows), self.ragged()
        for k, inner, read in block.stages(sizes):
            final = k == many - 1
            features = inner.features(read)
            residual = block.residual and k > 0
            if final:
                to = out
            else:
                to = (np.empty((self.total, features), self.dtype), 0, self.ragged())
            end, part = self.run(inner, f"{prefix}{k}.", xs, rows, read, to, last and final)
            kept.inner.append(part)
            if residual and to is not None:
                before = xs["x"][rows.index(self.lengths)]
                _add(to, before, self.lengths)
            if residual and end is not None:
                end = end + _last_rows((xs["x"], 0, rows), self.lengths, features)
            stage = {"read": read, "mask": None, "x_rows": rows, "count": len(next(iter(xs.values()), ()))}
            kept.extra["stages"].append(stage)
            if final:
                return end, kept
            if block.dropout and self.training and self.rng is not None:
                keep = self.rng.random(to[0].shape) >= block.dropout
                stage["mask"] = keep.astype(self.dtype) / self.dtype.type(1 - block.dropout)
                to[0][...] *= stage["mask"]
            xs, rows = {**xs, "x": to[0]}, to[2]
        raise AssertionError("a chain has a last block")

    def _compact(self, xs: Arrays, rows: Rows) -> dict[str, np.ndarray]:
        index = rows.index(self.lengths)
        return {name: np.ascontiguousarray(x[index]) for name, x in xs.items()}

    # backward: returns the adjoints of the inputs that are wanted, in their rows
    def back(self, kept: _Kept, dy, dlast, want, grads: Params, dfinal: Arrays) -> dict[str, np.ndarray]:
        block = kept.block
        if isinstance(block, Loop):
            return self._loop_back(kept, dy, dlast, want, grads, dfinal)
        if isinstance(block, Join):
            return self._join_back(kept, dy, dlast, want, grads, dfinal)
        assert isinstance(block, Chain)
        return self._chain_back(kept, dy, dlast, want, grads, dfinal)

    def _loop_back(self, kept, dy, dlast, want, grads, dfinal):
        tape, prefix = kept.inner[0], kept.extra["prefix"]
        step = tape.layer.step
        final = {s: dfinal[prefix + s] for s in step.states if prefix + s in dfinal}
        if dlast is not None and not kept.extra["separate"]:
            first = step.states[0]
            final[first] = final[first] + dlast if first in final else dlast
        elif dlast is not None:
            dy = self._with_last(dy, dlast, tape)
        view = {p.name: self.params[prefix + p.name] for p in step.params}
        mine = {p.name: grads[prefix + p.name] for p in step.params}
        names = tuple(n for n in want if n in step.inputs)
        dxs, dstate = loop_backward(tape, view, None if dy is None else dy[:2], final, names, mine)
        self.dstate |= {prefix + s: v for s, v in dstate.items()}
        return dxs

    def _with_last(self, dy, dlast, tape):
        """dy with the adjoint of the final output put at each sequence's last step."""
        if dy is None:
            rows = tape.y_rows
            size = int((rows.base + np.maximum(rows.step, 0) * np.maximum(self.lengths - 1, 0)).max(initial=-1)) + 1
            dy = (np.zeros((max(size, 1), dlast.shape[1]), self.dtype), 0)
        else:
            dy = (dy[0].copy(), dy[1])
        has = self.lengths > 0
        at = (tape.y_rows.base + tape.y_rows.step * (self.lengths - 1))[has]
        dy[0][at, dy[1] : dy[1] + dlast.shape[1]] += dlast[has]
        return dy

    def _join_back(self, kept, dy, dlast, want, grads, dfinal):
        block, total, column = kept.block, {}, 0
        scale = self.dtype.type(kept.extra["scale"])
        for inner, part in zip(block.blocks, kept.inner):
            width = inner.features(kept.extra["sizes"])
            end, d = dlast, dy
            if block.merge == "concat":
                end = None if dlast is None else np.ascontiguousarray(dlast[:, column : column + width])
                d = None if dy is None else (dy[0], dy[1] + column, *dy[2:])
                column += width
            elif dy is not None:
                d = (dy[3](scale), 0, self.ragged()) if len(dy) > 3 else self._ragged_dy(dy, width, scale)
            if block.merge != "concat" and dlast is not None:
                end = dlast * scale
            for name, dx in self.back(part, d, end, want, grads, dfinal).items():
                total[name] = total[name] + dx if name in total else dx
        return total

    def _ragged_dy(self, dy, width, scale):
        index = dy[2].index(self.lengths)
        return np.ascontiguousarray(dy[0][index, dy[1] : dy[1] + width]) * scale, 0, self.ragged()

    def _chain_back(self, kept, dy, dlast, want, grads, dfinal):
        block, stages, total = kept.block, kept.extra["stages"], {}
        for k in reversed(range(len(stages))):
            stage = stages[k]
            residual = block.residual and k > 0
            names = tuple(n for n in want if n != "x") + (("x",) if k or "x" in want else ())
            dxs = self.back(kept.inner[k], dy, dlast, names, grads, dfinal)
            if residual:
                self._residual_back(dxs["x"], dy, dlast, stage)
            for name, dx in dxs.items():
                if name != "x" or k == 0:
                    total[name] = total[name] + dx if name in total else dx
            if k:
                d = dxs.get("x")
                if d is None:
                    d = np.zeros((self.total, stage["read"]["x"]), self.dtype)
                mask = stages[k - 1]["mask"]
                dy, dlast = (d if mask is None else d * mask, 0, self.ragged()), None
        if len(stages[0]["read"]) > 1:
            index, back = kept.extra["rows"].index(self.lengths), {}
            for name, dx in total.items():
                back[name] = np.zeros((len(self.batch.arrays[name]), dx.shape[1]), self.dtype)
                back[name][index] = dx
            return back
        return total

    def _residual_back(self, dx, dy, dlast, stage):
        index = stage["x_rows"].index(self.lengths)
        if dy is not None:
            dx[index] += dy[0][dy[2].index(self.lengths), dy[1] : dy[1] + dx.shape[1]]
        if dlast is not None:
            has = self.lengths > 0
            rows = stage["x_rows"]
            dx[(rows.base + rows.step * (self.lengths - 1))[has]] += dlast[has]


def _put(out, rows: np.ndarray, lengths) -> None:
    out[0][out[2].index(lengths), out[1] : out[1] + rows.shape[1]] = rows


def _add(out, rows: np.ndarray, lengths) -> None:
    out[0][out[2].index(lengths), out[1] : out[1] + rows.shape[1]] += rows


def _last_rows(out, lengths, width) -> np.ndarray:
    array, column, rows = out
    end = np.zeros((len(lengths), width), array.dtype)
    has = lengths > 0
    end[has] = array[(rows.base + rows.step * (lengths - 1))[has], column : column + width]
    return end


# the whole network
def _start(net, params, batch, training, seed, packed=None):
    """Run the blocks; (rows the readout reads or the final output, pass, tape node, whether rows are the caller's)."""
    pass_ = _Pass(net, params, batch, training, seed, packed)
    rows = Rows(batch.base, 1)
    one = net.mode == "many-to-one"
    out, user = None, False
    if not one:
        user = net.outputs is None
        if user:
            array = _zeros(batch, net.features, pass_.dtype)
            out = (array.reshape(-1, net.features), 0, Rows(np.arange(batch.size) * batch.time, 1))
        else:
            out = (np.empty((pass_.total, net.features), pass_.dtype), 0, pass_.ragged())
    end, node = pass_.run(net.block, "", batch.arrays, rows, net.sizes, out, one)
    return pass_, node, (end if one else out[0]), out


def _zeros(batch: Batch, features: int, dtype) -> np.ndarray:
    make = np.empty if batch.full else np.zeros
    return make((batch.size, batch.time, features), dtype)


def _spread_rows(net, pass_, rows: np.ndarray, batch: Batch) -> np.ndarray:
    """Rows sequence by sequence as (batch, time, features), zero past the lengths."""
    if batch.full:
        return rows.reshape(batch.size, batch.time, rows.shape[1])
    y = np.zeros((batch.size, batch.time, rows.shape[1]), rows.dtype)
    y.reshape(-1, rows.shape[1])[Rows(np.arange(batch.size) * batch.time, 1).index(batch.lengths)] = rows
    return y


def _readout(net, params, rows: np.ndarray) -> np.ndarray:
    return affine(rows, params["readout.V"], params["readout.c"])


def _finish(net, params, pass_, rows, batch):
    one = net.mode == "many-to-one"
    if net.outputs is None:
        return rows if one else rows.reshape(batch.size, batch.time, net.features)
    o = _readout(net, params, rows)
    return o if one else _spread_rows(net, pass_, o, batch)


def infer(net, params, batch: Batch, packed=None):
    """Outputs and final state of a call."""
    pass_, _, rows, _ = _start(net, params, batch, False, None, packed)
    return _finish(net, params, pass_, rows, batch), pass_.final


def forward(net, params, batch: Batch, seed):
    """As `infer`, with a tape."""
    pass_, node, rows, _ = _start(net, params, batch, True, seed)
    y = _finish(net, params, pass_, rows, batch)
    return y, pass_.final, Tape(pass_, node, rows, batch, y.shape, params.flat)


def infer_rows(net, params, batch: Batch):
    """Outputs as rows: one a sequence (many-to-one), or one a step inside the lengths, sequence by sequence."""
    pass_, _, rows, out = _start(net, params, batch, False, None)
    return _output_rows(net, params, pass_, rows, out), pass_


def forward_rows(net, params, batch: Batch, seed):
    """As `infer_rows`, with a tape."""
    pass_, node, rows, out = _start(net, params, batch, True, seed)
    o = _output_rows(net, params, pass_, rows, out)
    return o, pass_.final, Tape(pass_, node, rows, batch, o.shape, params.flat)


def _output_rows(net, params, pass_, rows, out):
    if net.outputs is not None:
        return _readout(net, params, rows)
    if net.mode == "many-to-one":
        return rows
    return rows[out[2].index(pass_.lengths)]


def backward(net, params, tape: Tape, dy, dstate):
    """Gradients in the caller's shapes (see `Network.backward`)."""
    net.check_params(params)
    if not isinstance(tape, Tape):
        raise InputError(f"tape must be what net.forward returned, got {type(tape).__name__}")
    batch = tape.batch
    dfinal = as_state(net, batch, dstate) or {}
    rows = None
    if dy is not None:
        dy = np.asarray(dy)
        if dy.shape != tape.shape:
            raise InputError(f"dy must have the shape of y, {tape.shape}, got {dy.shape}")
        if dy.dtype.kind not in "fiub":
            raise InputError(f"dy must be numbers, got {dy.dtype}")
        dy = np.ascontiguousarray(dy, params.dtype)
        rows = dy
        if net.mode != "many-to-one":
            flat = dy.reshape(-1, dy.shape[-1])
            rows = flat[Rows(np.arange(batch.size) * batch.time, 1).index(batch.lengths)]
    dxs, dstarts, grads = backward_rows(net, params, tape, rows, dfinal, want_dx=True)
    return _as_given(net, batch, dxs), dstarts, grads


def _as_given(net, batch: Batch, dxs):
    if isinstance(net.inputs, Tokens):
        return None
    shaped = {}
    for name, rows in dxs.items():
        if batch.form == "padded":
            shaped[name] = rows.reshape(batch.size, batch.time, rows.shape[1])
        else:
            shaped[name] = [rows[s : s + n] for s, n in zip(batch.base, batch.counts)]
    return next(iter(shaped.values())) if batch.single else shaped


def backward_rows(net, params, tape: Tape, do, dfinal, want_dx: bool):
    """Gradients from the adjoint of the output rows (see `infer_rows`)."""
    if tape.released:
        raise InputError("the tape has been released: run net.forward again")
    pass_ = tape.pass_
    pass_.params = params
    pass_.dstate = {}
    grads = Params.zeros(net.shapes, params.dtype)
    if do is not None and net.outputs is not None:
        rows = tape.rows
        do = affine_backward(do, rows, params["readout.V"], grads["readout.V"], grads["readout.c"])
    dy = dlast = None
    if do is not None and net.mode == "many-to-one":
        dlast = do
    elif do is not None:
        # in the rows that the output was written to
        if net.outputs is None:
            out = Rows(np.arange(tape.batch.size) * tape.batch.time, 1)
            full = np.zeros((tape.batch.size * tape.batch.time, net.features), params.dtype)
            full[out.index(tape.batch.lengths)] = do
            dy = (full, 0, out)
        else:
            dy = (np.ascontiguousarray(do), 0, pass_.ragged())
    want = tuple(net.sizes) if want_dx and not isinstance(net.inputs, Tokens) else ()
    dxs = pass_.back(tape.node, dy, dlast, want, grads, dfinal or {})
    given = tape.batch.state or {}
    for path, d in pass_.dstate.items():
        if path + "0" in grads and path not in given:
            grads[path + "0"][...] += d.sum(0)
    return dxs, pass_.dstate, grads


class Bound:
    """A network with parameters packed once: called as ``net(params, ...)`` without the parameters.

    A snapshot: later changes of the parameters do not reach it.
    """

    def __init__(self, net, params: Params):
        net.check_params(params)
        self.net = net
        self.params = params.copy()
        self.dtype = params.dtype
        self.loops = {}
        for prefix, (layer, sizes) in net.loops.items():
            view = {p.name: self.params[prefix + p.name] for p in layer.step.params}
            self.loops[prefix] = prepare(layer, "infer", view, sizes, str(self.dtype))

    def __call__(self, x, *, lengths=None, state=None):
        """Outputs and final state, as of the network (see `Network.__call__`)."""
        batch = as_batch(self.net, self.dtype, x, lengths)
        batch.state = as_state(self.net, batch, state)
        return infer(self.net, self.params, batch, self)

    def __repr__(self) -> str:
        return f"<{self.net!r} bound to {self.params.flat.size} {self.dtype} numbers>"


class Stream:
    """One step at a time, the state kept inside. A snapshot of the parameters; safe from several threads.

    Parameters
    ----------
    net : Network
        Without a block that reads backward in time.
    params : Params
    batch : int
    state : mapping of str to (batch, size), optional
    """

    def __init__(self, net, params: Params, batch: int = 1, state=None):
        if _reads_backward(net.block):
            raise InputError("a network that reads backward in time cannot stream: it needs the end of the sequence first")
        if isinstance(batch, bool) or not isinstance(batch, (int, np.integer)) or batch < 1:
            raise InputError(f"batch must be a positive integer, got {batch!r}")
        self._run = Bound(net, params)
        self.batch = int(batch)
        self._lock = threading.Lock()
        self.reset(state)

    def reset(self, state=None) -> None:
        """Back to the initial state, or to a given one."""
        probe = Batch({}, np.zeros(self.batch, np.int64), np.zeros(self.batch, np.int64), 0, "padded", True)
        self._state = as_state(self._run.net, probe, state)

    @property
    def state(self) -> dict[str, np.ndarray] | None:
        """The state after the last step; None before the first."""
        return None if self._state is None else {k: v.copy() for k, v in self._state.items()}

    def step(self, x_t):
        """One step.

        Parameters
        ----------
        x_t : array_like, (batch, features), or (batch,) tokens, or a mapping of inputs

        Returns
        -------
        y_t : ndarray, (batch, features)
        """
        if isinstance(x_t, Mapping):
            x = {k: np.asarray(v)[:, None] for k, v in x_t.items()}
        else:
            x_t = np.asarray(x_t)
            if x_t.ndim < 1 or len(x_t) != self.batch:
                raise InputError(f"a step of this stream needs {self.batch} sequences, got shape {x_t.shape}")
            x = x_t[:, None]
        with self._lock:
            y, self._state = self._run(x, state=self._state)
        return y[:, 0] if self._run.net.mode == "many-to-many" else y


def _reads_backward(block: Block) -> bool:
    if isinstance(block, Reverse):
        return True
    return any(_reads_backward(b) for b in getattr(block, "blocks", ()))



