"""A network's training step as two programs: forward with what BPTT needs kept, and the way back to gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .batch import is_tokens
from .combine.blocks import Block, Chain, Join, Loop, Reverse
from .cpu.advance import DX, GRADS, PARAMS, ROOM, STATE, TAPE, Y
from .cpu.stepping import Program, Readout
from .layout import Rows
from .params import Params
from .steps import Arrays, Out, Steps, each, ends

__all__ = ["ForwardSteps"]


class _Unpacked:
    """What steps ask of a bound network, of one whose weights come with each run."""

    def __init__(self, net, dtype: np.dtype):
        self.net, self.dtype = net, dtype
        self.tokens = is_tokens(net, "x") and bool(net.sizes)


class ForwardSteps(Steps):
    """The program of all steps forward, parameters and tape its further places; `back`: that of the way back.

    `want`: whether the way back gives the adjoints of inputs.
    """

    place = keep = TAPE

    def __init__(self, net, dtype: np.dtype, batch: int, time: int, want: bool, varied: bool = False):
        self._want = want
        super().__init__(_Unpacked(net, dtype), batch, True, time, varied)

    def _write(self, many: int, rows: Rows | None) -> None:
        shapes = self.net.shapes
        self.params = _standing(self.program, PARAMS, shapes)
        super()._write(many, rows)
        self.back = BackSteps(self, many, rows is None, self._want)  # while what stands for places is there
        del self.kept, self.read

    def _prepared(self, prefix: str):
        layer, sizes = self.net.loops[prefix]
        view = {p.name: self.params[prefix + p.name] for p in layer.step.params}
        return self.program.packed(layer, "forward", sizes, view)

    def _readout(self) -> Readout:
        v, c = self.params["readout.V"], self.params["readout.c"]
        return self.program.packed_map(v, v.strides[1], v.strides[0], v.shape[1], v.shape[0], c)

    def _block(self, block: Block, prefix: str, xs: Arrays, rows: Rows, sizes, out: Out):
        kept = super()._block(block, prefix, xs, rows, sizes, out)
        if not prefix:
            self.kept, self.read = kept, out[0]
        return kept


def _standing(program: Program, kind: int, shapes) -> Params:
    size = sum(int(np.prod(shape)) for shape in shapes.values())
    return Params(shapes, program.array(kind, size, rows=1)[0])


class BackSteps:
    """The program of BPTT through what a `ForwardSteps` kept.

    Its memory begins with the adjoints of the final states, in the end of the initial ones, as that of forward steps
    does with states. `Y` is the adjoint of the output; `DX` is written, to `GRADS` is added.
    """

    def __init__(self, forth: ForwardSteps, many: int, last: bool, want: bool):
        self._forth, self.net, self.dtype = forth, forth.net, forth.dtype
        given = str(forth.dtype), forth.batch, True, forth.program.time, forth.program.varied
        self.program = program = Program(*given, beside=forth.program)
        net = self.net
        shapes = net.state_shapes.items()
        self._states = {path: program.array(STATE, size, rows=forth.batch) for path, (size,) in shapes}
        self._grads = _standing(program, GRADS, net.shapes)
        dy = program.array(Y, forth.features, rows=many)
        if net.outputs is not None:
            dy = program.affine_back(
                dy, forth.read, forth.params["readout.V"], self._grads["readout.V"], self._grads["readout.c"]
            )
        to: dict[str, np.ndarray] = {}
        dx = program.array(DX, forth.columns) if want and not forth.tokens else None
        if dx is not None:
            to = forth.parts(dx)
        found = self._block(net.block, "", forth.kept, None if last else (dy, program.rows), dy if last else None,
                            tuple(to), to, net.fed)  # fmt: skip
        for name, target in to.items():
            if found.get(name) is None:
                self._clear(target)
            elif found[name] is not target:
                program.copy(found[name], target)
        if dx is not None:
            program.clear(dx)
        program.finish()
        del self._forth

    def _clear(self, target: np.ndarray) -> None:
        self.program.copy(np.broadcast_to(np.zeros(target.shape[1], self.dtype), target.shape), target)

    # blocks: adjoints of inputs that are wanted, written `to` arrays where these are given
    def _block(self, block: Block, prefix: str, kept, dy: Out | None, dlast, want, to: Arrays, sizes) -> dict[str, Any]:
        if isinstance(block, Loop):
            return self._loop(prefix, kept, dy, dlast, want, to)
        if isinstance(block, Reverse):
            turned = None if dy is None or dy[1] is None else (dy[0], self.program.reversed(dy[1]))
            return self._block(block.block, prefix, kept, turned, dlast, want, to, sizes)
        if isinstance(block, Join):
            return self._join(block, prefix, kept, dy, dlast, want, to, sizes)
        assert isinstance(block, Chain)
        return self._chain(block, prefix, kept, dy, dlast, want, to, sizes)

    def _loop(self, prefix: str, tape, dy: Out | None, dlast, want, to: Arrays) -> dict[str, Any]:
        (layer, sizes), program = self.net.loops[prefix], self.program
        step, d = layer.step, None if dy is None else dy[0]
        states = {s: self._states[prefix + s] for s in step.states}
        if dlast is not None and step.separate_output:
            d = program.array(ROOM, dlast.shape[1])
            self._clear(d)
            program.copy(dlast, ends(program, d))
        elif dlast is not None:
            program.add(dlast, states[step.output_state])
        params, grads = (
            {p.name: of[prefix + p.name] for p in step.params} for of in (self._forth.params, self._grads)
        )
        prepared = program.packed(layer, "backward", sizes, params)
        names = [n for n in want if f"d.{n}" in prepared.code.plan.outs]
        dxs = {n: to[n] if n in to else program.array(ROOM, sizes[step.dims[n]]) for n in names}
        program.back(tape, prepared, d, states, dxs, grads)
        return dxs

    def _join(self, block: Join, prefix: str, kept, dy: Out | None, dlast, want, to, sizes) -> dict[str, Any]:
        total: dict[str, Any] = {}
        column = 0
        for name, inner, part in zip(block.names, block.blocks, kept):
            width, end, d = inner.features(sizes), dlast, dy
            if block.merge == "concat":
                end = None if dlast is None else dlast[:, column : column + width]
                d = None if dy is None else (dy[0][:, column : column + width], dy[1])
                column += width
            else:
                end = None if dlast is None else self._share(block, (dlast, None))
                d = None if dy is None else (self._share(block, dy), self.program.rows)
            left = {n: target for n, target in to.items() if n not in total}
            self._onto(total, self._block(inner, f"{prefix}{name}.", part, d, end, want, left, sizes))
        return total

    def _share(self, block: Join, dy: Out) -> np.ndarray:
        """The adjoint of one of the blocks that were added, row by row as their outputs were."""
        if block.merge == "sum" and (dy[1] is None or dy[1].step > 0):
            return dy[0]
        own = self.program.array(ROOM, dy[0].shape[1], rows=len(dy[0]))
        each(self.program.copy, own, dy, back=True)
        if block.merge == "mean":
            self.program.scale(own, 1 / len(block.blocks))
        return own

    def _onto(self, total: dict[str, Any], dxs: dict[str, Any]) -> None:
        for name, dx in dxs.items():
            if name in total:
                self.program.add(dx, total[name])
            else:
                total[name] = dx

    def _chain(self, block: Chain, prefix: str, kept, dy: Out | None, dlast, want, to, sizes) -> dict[str, Any]:
        program, (parts, turned) = self.program, kept
        total: dict[str, Any] = {}
        for k, inner, read in reversed(list(block.stages(sizes))):
            names = tuple(n for n in want if n != "x") + (("x",) if k or "x" in want else ())
            left = {n: t for n, t in to.items() if n not in total and (n != "x" or not k) and turned is None}
            dxs = self._block(inner, f"{prefix}{k}.", parts[k], dy, dlast, names, left, read)
            if k and "x" not in dxs:
                dxs["x"] = program.array(ROOM, read["x"])
                self._clear(dxs["x"])
            if block.residual and k:
                if dy is not None:
                    each(program.add, dxs["x"], dy, back=True)
                if dlast is not None:
                    program.add(dlast, ends(program, dxs["x"]))
            self._onto(total, {n: dx for n, dx in dxs.items() if n != "x" or not k})
            if k:
                dy, dlast = (dxs["x"], program.rows), None
        if turned is None:
            return total
        back = {n: to[n] if n in to else program.array(ROOM, dx.shape[1]) for n, dx in total.items()}
        for n, dx in total.items():
            each(program.copy, dx, (back[n], turned))
        return back
