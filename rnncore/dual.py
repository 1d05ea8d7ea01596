"""A network and its directional derivative in one pass: every sequence carries its direction beside it.

An array of rows of width F becomes one of width 2 F, the values in the first half and their direction in the
second. Blocks stay what they are; a loop runs the tangent of its step (`rnncore.plan.tangent`), which is a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .combine.blocks import Block, Chain, Join, Loop, Reverse
from .cpu.run import loop_backward, loop_forward, prepare
from .errors import InputError
from .inputs import Batch
from .lang.cell import Layer, sizes_of
from .lang.trace import Step
from .layout import Rows
from .params import Params
from .passes import Kept, Pass, _last_rows, _put
from .plan.tangent import dotted, tangent_of
from .zero_length import nought_of

__all__ = ["Directed", "DualPass"]

Moved = frozenset[str]


@dataclass(frozen=True, eq=False)
class DualLayer:
    """A layer's step together with its tangent."""

    step: Step
    members: tuple[tuple[str, Layer], ...] = ()

    @property
    def name(self) -> str:
        return self.step.name


@dataclass(frozen=True)
class DualLoop(Loop):
    """A loop of which the inputs in `moved`, and the parameters if `params`, have a direction."""

    moved: Moved = frozenset()
    params: bool = True

    def _single(self, sizes: Mapping[str, int]) -> dict[str, int]:
        return {name: n // 2 if name in self.moved else n for name, n in sizes.items()}

    def walk(self, prefix, sizes):
        step = tangent_of(self.layer.step, self.moved & {*self.layer.step.inputs}, self.params)
        yield prefix, DualLayer(step), sizes_of(self.layer, self._single(sizes))

    def features(self, sizes):
        return 2 * super().features(self._single(sizes))


def dual_block(block: Block, moved: Moved, params: bool) -> Block:
    """The block with a direction beside each sequence.

    Raises
    ------
    InputError
        A kind of block that has no directional derivative.
    """
    if isinstance(block, Loop):
        return DualLoop(block.layer, moved, params)
    if isinstance(block, Reverse):
        return Reverse(dual_block(block.block, moved, params))
    if isinstance(block, Join):
        return Join(block.names, tuple(dual_block(b, moved, params) for b in block.blocks), block.merge)
    if isinstance(block, Chain):
        later = moved | {"x"}
        blocks = tuple(dual_block(b, later if k else moved, params) for k, b in enumerate(block.blocks))
        return Chain(blocks, block.dropout, block.residual)
    kind = type(block).__name__
    raise InputError(f"directional derivatives go through loops, chains, joins and reversals, not {kind}")


class Directed:
    """What a pass needs of a network, of its parameters and of a batch, with directions beside them.

    Parameters
    ----------
    net : Network
    params : Params
    dparams : Params or None
        The direction of the parameters; None where they do not move.
    moved : frozenset of str
        Inputs that have a direction.
    """

    def __init__(self, net, params: Params, dparams: Params | None, moved: Moved):
        self.net, self.inputs, self.moved, self.features = net, net.inputs, moved, net.features
        self.block = dual_block(net.block, moved, dparams is not None)
        self.sizes = {name: 2 * n if name in moved else n for name, n in net.fed.items()}
        self.loops = {prefix: (layer, sizes) for prefix, layer, sizes in self.block.walk("", self.sizes)}
        self.twins = dict(self._twins(dparams is not None))  # a parameter's path to that of its direction
        shapes: dict[str, tuple[int, ...]] = {}
        for prefix, (layer, _) in self.loops.items():
            names = [p.name for p in layer.step.params] + [s + "0" for s in layer.step.states]
            single = {twin: path for path, twin in self.twins.items()}
            for path in (prefix + n for n in names):
                of = single.get(path, path)
                if of in net.shapes:
                    shapes[path] = net.shapes[of]
        self.params = Params.zeros(shapes, params.dtype)
        for path in net.shapes:
            if path in shapes:
                self.params[path] = params[path]
                if dparams is not None:
                    self.params[self.twins[path]] = dparams[path]

    def _twins(self, params: bool):
        for prefix, (layer, _) in self.net.loops.items():
            if params:
                yield from ((prefix + p.name, prefix + dotted(p.name)) for p in layer.step.params)
                yield from ((f"{prefix}{s}0", f"{prefix}{dotted(s)}0") for s in layer.step.states)

    def batch(self, batch: Batch, dx: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> Batch:
        """`batch` with directions of inputs, by name in the rows of the inputs, and given states."""
        arrays = {k: np.concatenate([v, dx[k]], 1) if k in self.moved else v for k, v in batch.arrays.items()}
        return replace(batch, arrays=arrays, state=dict(state))


class DualPass(Pass):
    """A pass of a network with directions."""

    def __init__(self, directed: Directed, batch: Batch, training: bool):
        super().__init__(directed, directed.params, batch, training, None)

    def run_all(self, last: bool):
        """Run the blocks: rows (values, directions) of the output or of the final output, and the tape's part."""
        net: Any = self.net
        width = 2 * net.features
        out = None if last else (np.empty((self.total, width), self.dtype), 0, self.ragged())
        end, node = self.run(net.block, "", self.batch.arrays, Rows(self.batch.base, 1), net.sizes, out, last)
        return (end if out is None else out[0]), node

    def _loop(self, block, prefix, xs, rows, sizes, out, last):
        layer, numbers = self.net.loops[prefix]
        step, width = layer.step, block.features(sizes)
        if step.separate_output and last and out is None:
            out = (np.empty((self.total, width), self.dtype), 0, self.ragged())
        tokens = any(xs.get("x") is known for known in self.tokens)
        view = {p.name: self.params[prefix + p.name] for p in step.params}
        prepared = prepare(layer, "forward" if self.training else "infer", view, numbers, str(self.dtype))
        extras = None if out is None else {dotted("y"): out[0][:, out[1] + width // 2 :]}
        final, tape = loop_forward(
            layer, numbers, prepared, self.layout, self._halves(block, xs), rows, self.start(prefix, step.states), out,
            self.training, tokens, extras=extras,
        )  # fmt: skip
        prepared.weights.release()
        self.final |= {prefix + s: v for s, v in final.items()}
        end = nought = None
        if last and step.separate_output:
            end = _last_rows(out, self.lengths, width)
            nought = nought_of(step, numbers, self.lengths, final, (dotted("y"),))
            if nought is not None:
                end[nought.at] = nought.ends(view)
        elif last:
            end = np.concatenate([final[step.output_state], final[dotted(step.output_state)]], 1)
        return end, None if tape is None else Kept(block, [tape], {"prefix": prefix, "width": width, "nought": nought})

    def _halves(self, block: DualLoop, xs):
        """The inputs of a loop and their directions, as arrays of their own."""
        halves = {}
        for name in block.layer.step.inputs:
            half = xs[name].shape[1] // 2
            halves[name] = xs[name][:, :half] if name in block.moved else xs[name]
            if name in block.moved:
                halves[dotted(name)] = xs[name][:, half:]
        return halves

    def _loop_back(self, kept, dy, dlast, want, grads, dfinal):
        tape, prefix, half = kept.inner[0], kept.extra["prefix"], kept.extra["width"] // 2
        step, block = tape.layer.step, kept.block
        final: dict[str, np.ndarray] = {}
        view = {p.name: self.params[prefix + p.name] for p in step.params}
        mine = {p.name: grads[prefix + p.name] for p in step.params}
        if dlast is not None and step.separate_output:
            dy = self._with_last(dy, dlast, tape)
            if kept.extra["nought"] is not None:
                kept.extra["nought"].back(view, dlast, final, mine)
        elif dlast is not None:
            final = {step.output_state: dlast[:, :half], dotted(step.output_state): dlast[:, half:]}
        moved = [n for n in want if n in step.inputs and n in block.moved]
        names = (*moved, *map(dotted, moved))
        dextras = None if dy is None else {dotted("y"): (dy[0], dy[1] + half)}
        dxs, dstate = loop_backward(tape, view, None if dy is None else dy[:2], final, names, mine, dextras=dextras)
        self.dstate |= {prefix + s: v for s, v in dstate.items()}
        return {n: np.concatenate([dxs[n], dxs[dotted(n)]], 1) for n in moved}

    def _join(self, block: Join, prefix, xs, rows, sizes, out, last):
        if block.merge != "concat":
            return super()._join(block, prefix, xs, rows, sizes, out, last)
        own = None if out is None else (np.empty((self.total, block.features(sizes)), self.dtype), 0, self.ragged())
        end, kept = super()._join(block, prefix, xs, rows, sizes, own, last)
        order = kept.extra["order"] = _values_first([b.features(sizes) for b in block.blocks])
        kept.extra["out"] = None if out is None else out[2]
        if own is not None:
            _put(out, np.take(own[0], order, 1), self.lengths)
        return None if end is None else np.take(end, order, 1), kept

    def _join_back(self, kept, dy, dlast, want, grads, dfinal):
        order = kept.extra.get("order")
        if order is not None:
            back = np.argsort(order)
            if dy is not None:
                dy = (np.take(self._ragged_dy(dy, len(order), self.dtype.type(1))[0], back, 1), 0, self.ragged())
            dlast = None if dlast is None else np.take(dlast, back, 1)
        return super()._join_back(kept, dy, dlast, want, grads, dfinal)


def _values_first(widths: list[int]) -> np.ndarray:
    """The columns of parts that each are values and directions, in the order of all values and all directions."""
    starts = np.cumsum([0, *widths[:-1]])
    halves = [np.arange(w // 2) + s for w, s in zip(widths, starts)]
    return np.concatenate([*halves, *(h + w // 2 for h, w in zip(halves, widths))])
