"""A batch through a network's blocks, a step at a time, and the way back, as one would write it down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..combine.blocks import Block, Chain, Join, Loop, Reverse
from ..combine.translate import Translate
from ..lang.dims import POSITION
from ..plan.adjoint import adjoint_of
from ..plan.ending import ending_of
from .interpreter import evaluate
from .translation import translate, translate_backward

__all__ = ["Run", "reversed_within"]

Arrays = dict[str, np.ndarray]


def reversed_within(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Each sequence of (batch, time, ...) read backward within its own length; the rest stays zero."""
    out = np.zeros_like(x)
    for b, n in enumerate(lengths):
        out[b, :n] = x[b, :n][::-1]
    return out


class Run:
    """One pass over one batch: parameters, lengths, initial states; keeps every step for the way back."""

    def __init__(self, params: Mapping[str, np.ndarray], lengths: np.ndarray, state: Arrays, writing=None, steps=None):
        self.params, self.lengths, self.state, self.writing = params, lengths, state, writing
        self.steps = steps
        self.final: Arrays = {}
        self.grads: Arrays = {}
        self.dstate: Arrays = {}
        self.sources: Arrays = {}
        self.source_lengths = lengths
        self.dsources: Arrays = {}

    # forward
    def forward(self, block: Block, prefix: str, xs: Arrays, sizes: Mapping[str, int]):
        """Output (batch, time, features), the final output (batch, features), and what backward needs."""
        if isinstance(block, Loop):
            return self.loop(block, prefix, xs, sizes)
        if isinstance(block, Reverse):
            turned = {k: reversed_within(v, self.lengths) for k, v in xs.items()}
            y, last, tape = self.forward(block.block, prefix, turned, sizes)
            return reversed_within(y, self.lengths), last, tape
        if isinstance(block, Join):
            parts = [self.forward(b, f"{prefix}{n}.", xs, sizes) for n, b in zip(block.names, block.blocks)]
            ys, lasts = [p[0] for p in parts], [p[1] for p in parts]
            tape = [(p[2], p[0].shape[-1]) for p in parts]
            if block.merge == "concat":
                return np.concatenate(ys, -1), np.concatenate(lasts, -1), tape
            scale = 1 if block.merge == "sum" else 1 / len(parts)
            return sum(ys) * scale, sum(lasts) * scale, tape
        if isinstance(block, Translate):
            return translate(self, block, prefix, xs, sizes)
        assert isinstance(block, Chain)
        return self._chain(block, prefix, xs, sizes)

    def _chain(self, block: Chain, prefix, xs, sizes):
        tape = []
        for k, inner, read in block.stages(sizes):
            y, last, t = self.forward(inner, f"{prefix}{k}.", xs, read)
            if block.residual and k:
                y = y + xs["x"]
                last = last + _last_step(xs["x"], self.lengths)
            tape.append((inner, read, t))
            xs = {**xs, "x": y}
        return y, last, tape

    def loop(self, block: Loop, prefix, xs, sizes, time=None):
        _, layer, numbers = next(block.walk(prefix, sizes))
        longest = int(self.source_lengths.max(initial=0))
        numbers = {**numbers, POSITION: longest}
        step = layer.step
        leaves: dict[tuple[str, str], Any] = {("array", k): v for k, v in step.arrays.items()}
        leaves |= {("param", p.name): self.params[prefix + p.name] for p in step.params}
        state = {s: self.state[prefix + s] for s in step.states}
        leaves |= {("source", n): self.sources[n][:, :longest] for n in step.sources}
        leaves["position", "count"] = self.source_lengths
        leaves["position", "index"] = np.broadcast_to(np.arange(longest), (len(self.lengths), longest))
        batch = len(self.lengths)
        if time is None:  # what reads no input takes as many steps as it is told
            time = next(iter(xs.values())).shape[1] if xs else self.steps
        kept, ys = [], []
        kind = np.result_type(*state.values(), *xs.values())
        last = np.zeros((batch, numbers[step.output.shape[0]]), kind)
        first, ending = leaves | {("state", s): v for s, v in state.items()}, ending_of(step)
        if not step.separate_output:
            last = state[step.output_state]
        elif ending is not None:
            last = evaluate(ending.roots, first, numbers)["y"]
        for t in range(time):
            now = leaves | {("input", n): xs[n][:, t] for n in step.inputs}
            now |= {("state", s): v for s, v in state.items()}
            kept.append(now)
            values = evaluate(step.roots, now, numbers)
            active = (t < self.lengths)[:, None]
            y = np.broadcast_to(values["y"], (batch, numbers[step.output.shape[0]]))
            ys.append(np.where(active, y, 0))
            last = np.where(active, y, last)
            state = {s: np.where(active, values["next." + s], v) for s, v in state.items()}
        self.final |= {prefix + s: v for s, v in state.items()}
        features = numbers[step.output.shape[0]]
        y = np.stack(ys, 1) if ys else np.zeros((batch, 0, features), last.dtype)
        return y, last, (step, numbers, kept, first)

    # backward
    def backward(self, block: Block, prefix: str, dy, dlast, tape, dfinal: Arrays) -> Arrays:
        """Adjoint of each input sequence, from those of the output and of the final output."""
        if isinstance(block, Loop):
            return self.loop_backward(prefix, dy, dlast, tape, dfinal)
        if isinstance(block, Reverse):
            dxs = self.backward(block.block, prefix, reversed_within(dy, self.lengths), dlast, tape, dfinal)
            return {k: reversed_within(v, self.lengths) for k, v in dxs.items()}
        if isinstance(block, Join):
            return self._join_backward(block, prefix, dy, dlast, tape, dfinal)
        if isinstance(block, Translate):
            return translate_backward(self, prefix, dy, tape, dfinal)
        assert isinstance(block, Chain)
        return self._chain_backward(block, prefix, dy, dlast, tape, dfinal)

    def _chain_backward(self, block: Chain, prefix, dy, dlast, tape, dfinal):
        total: Arrays = {}
        for k in reversed(range(len(tape))):
            inner, read, kept = tape[k]
            dxs = self.backward(inner, f"{prefix}{k}.", dy, dlast, kept, dfinal)
            if block.residual and k:
                dxs["x"] = dxs["x"] + dy + _spread_last(dlast, self.lengths, dy.shape[1])
            for name, d in dxs.items():
                if name != "x" or k == 0:
                    total[name] = total.get(name, 0) + d
            dy = dxs.get("x")
            dlast = np.zeros((len(self.lengths), read.get("x", 0)))
        return total

    def _join_backward(self, block: Join, prefix, dy, dlast, tape, dfinal):
        total: Arrays = {}
        at = 0
        for name, inner, (kept, width) in zip(block.names, block.blocks, tape):
            if block.merge == "concat":
                part, last = dy[..., at : at + width], dlast[:, at : at + width]
                at += width
            else:
                scale = 1 if block.merge == "sum" else 1 / len(tape)
                part, last = dy * scale, dlast * scale
            for key, d in self.backward(inner, f"{prefix}{name}.", part, last, kept, dfinal).items():
                total[key] = total.get(key, 0) + d
        return total

    def loop_backward(self, prefix, dy, dlast, tape, dfinal):
        step, numbers, kept, first = tape
        adjoint = adjoint_of(step)
        batch, time = len(self.lengths), len(kept)
        carry = {s: np.array(dfinal[prefix + s]) for s in step.states}
        if not step.separate_output:
            carry[step.output_state] = carry[step.output_state] + dlast
        sums: Arrays = {}
        if ending_of(step) is not None:
            self._nought_backward(step, numbers, first, dlast, carry, sums)
        dxs = {n: np.zeros((batch, time, numbers[step.dims[n]]), dy.dtype) for n in step.inputs}
        for t in reversed(range(time)):
            active = t < self.lengths
            seed = np.where(active[:, None], dy[:, t], 0)
            if step.separate_output:
                seed = seed + np.where((t == self.lengths - 1)[:, None], dlast, 0)
            now = kept[t] | {("adj", s): v for s, v in carry.items()} | {("out", "y"): seed}
            values = evaluate(adjoint.roots, now, numbers)
            for key, v in values.items():
                if key.startswith("p."):
                    v = np.where(active.reshape(-1, *[1] * (v.ndim - 1)), v, 0).sum(0)
                    sums[key[2:]] = sums.get(key[2:], 0) + v
            for s in step.states:
                before = values.get("d." + s, np.zeros_like(carry[s]))
                carry[s] = np.where(active[:, None], before, carry[s])
            for n in step.inputs:
                if "d." + n in values:
                    v = values["d." + n]
                    dxs[n][:, t] = np.where(active[:, None], v[:, None] if v.ndim == 1 else v, 0)
            for n in step.sources:
                if "d." + n in values:
                    inside = active[:, None] & (np.arange(numbers[POSITION]) < self.source_lengths[:, None])
                    self.dsources[n][:, : numbers[POSITION]] += np.where(inside[..., None], values["d." + n], 0)
        self.dstate |= {prefix + s: v for s, v in carry.items()}
        self._parameters(prefix, step, numbers, adjoint, sums)
        return dxs

    def _nought_backward(self, step, numbers, first, dlast, carry, sums):
        """What the outputs of sequences of length 0 leave to their states and to the parameters."""
        seed = np.where((self.lengths == 0)[:, None], dlast, 0)
        for key, v in evaluate(ending_of(step).reverse, first | {("out", "y"): seed}, numbers).items():
            if key.startswith("p."):
                sums[key[2:]] = v.sum(0)
            else:
                carry[key[2:]] = carry[key[2:]] + v

    def _parameters(self, prefix, step, numbers, adjoint, sums):
        leaves: dict[tuple[str, str], Any] = {("array", k): v for k, v in step.arrays.items()}
        for p in step.params:
            leaves["param", p.name] = self.params[prefix + p.name]
            self.grads[prefix + p.name] = np.zeros_like(self.params[prefix + p.name])
        for name, node in adjoint.boundary.items():
            leaves["grad", name] = sums.get(name, np.zeros([numbers[d] for d in node.shape]))
        if sums:
            for name, g in evaluate(adjoint.call_roots, leaves, numbers).items():
                self.grads[prefix + name] = np.broadcast_to(g, self.params[prefix + name].shape).copy()


def _last_step(x, lengths):
    last = np.zeros((x.shape[0], x.shape[2]), x.dtype)
    for b, n in enumerate(lengths):
        if n:
            last[b] = x[b, n - 1]
    return last


def _spread_last(dlast, lengths, time):
    out = np.zeros((len(lengths), time, dlast.shape[1]), dlast.dtype)
    for b, n in enumerate(lengths):
        if n:
            out[b, n - 1] = dlast[b]
    return out
