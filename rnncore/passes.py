"""One pass through a network's blocks: loops in order, sequences handed from one to the next, and the way back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from .backends import backend_of
from .between import Between, generator_of
from .combine.blocks import Block, Chain, Join, Loop, Reverse
from .combine.translate import Translate
from .inputs import Batch
from .joined import join, join_back
from .kept import Kept, loops_of
from .lang.trace import Step
from .layout import Layout, Rows, Sources, layout_of, ragged
from .params import Params
from .rows import add, beside, ends, last_rows
from .translation import translate, translate_back
from .zero_length import nought_of

__all__ = ["Kept", "Pass", "loops_of"]

Arrays = Mapping[str, np.ndarray]


class Pass(Between):
    """One forward pass: lengths, layout, states; `packed` holds weights packed before (``bind``)."""

    def __init__(self, net, params: Arrays, batch: Batch, training: bool, seed, packed=None):
        self.net, self.params, self.training = net, params, training
        numbers = params if isinstance(params, Params) else packed
        self.dtype, self.backend = numbers.dtype, backend_of(numbers.device, numbers.rounding)
        self.rng = generator_of(seed)
        self.packed = packed
        self.sources: Sources | None = None  # what the steps of a decoder see whole
        self.extras: dict[str, np.ndarray] = {}  # where their further outputs go
        self.dsources: dict[str, np.ndarray] = {}
        self._begin(batch)

    def _begin(self, batch: Batch) -> None:
        self.batch, self.lengths, self.time = batch, batch.lengths, batch.time
        self.layout: Layout = layout_of(batch.lengths, batch.full)
        self.total = int(batch.lengths.sum())
        self.tokens = [x for name, x in batch.arrays.items() if name == "x" and x.dtype.kind == "i"]
        self.final: dict[str, np.ndarray] = {}
        self.dstate: dict[str, np.ndarray] = {}

    def over(self, batch: Batch) -> Self:
        """A pass like this one over another batch; the states that it finds are its own."""
        made = copy.copy(self)
        made._begin(batch)
        return made

    def ragged(self) -> Rows:
        """Sequences one after another, without padding."""
        return ragged(self.lengths)

    def at(self, rows: Rows) -> Any:
        """What indexes the rows of all steps, sequence by sequence, in an array."""
        return self.backend.index(rows.index(self.lengths))

    def start(self, prefix: str, states) -> dict[str, np.ndarray]:
        given = self.batch.state or {}
        found = {}
        for s in states:
            path = prefix + s
            if path in given:
                found[s] = given[path]
            elif path + "0" in self.params:
                learned = self.params[path + "0"]
                found[s] = self.backend.xp.broadcast_to(learned, (len(self.lengths), len(learned)))
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
        if isinstance(block, Translate):
            return translate(self, block, prefix, xs, rows, sizes, out)
        assert isinstance(block, Chain)
        return self._chain(block, prefix, xs, rows, sizes, out, last)

    def _loop(self, block, prefix, xs, rows, sizes, out, last):
        lesson = self.batch.lesson
        taught = lesson is not None and lesson.prefix == prefix
        layer, numbers = (lesson.layer, lesson.sizes) if taught else self.net.loops[prefix]
        step = layer.step
        size = numbers[step.output.shape[0]]
        tokens = any(xs.get("x") is known for known in self.tokens)
        if step.separate_output and last and out is None:
            width = size * (1 + len(step.seeded))
            out = (self.backend.empty((self.total, width), self.dtype), 0, self.ragged())
        packed = self.packed is not None and not taught
        view = {p.name: self.params[prefix + p.name] for p in step.params}
        if packed:
            prepared = self.packed.loops[prefix]
        else:
            which = "forward" if self.training and self.batch.checkpoint is None else "infer"
            prepared = self.backend.prepare(layer, which, view, numbers, str(self.dtype))
        state = self.start(prefix, step.states)
        given = (layer, numbers, prepared, self.layout, self.inputs(layer, xs), rows, state, out)
        extras = self.extras if out is None else self.extras | {n: a[:, at:] for n, (a, at) in beside(step, size, out)}
        seen = (tokens, self.sources if step.sources else None, extras)
        every = self.batch.checkpoint if self.training else None
        if every is None:
            final, tape = self.backend.loop_forward(*given, self.training, *seen)
        else:
            final, tape = self.backend.checkpointed_forward(every, *given, *seen)
        if not packed:
            prepared.weights.release()
        self.final |= {prefix + s: v for s, v in final.items()}
        end, nought = self._end(step, numbers, final, out, view) if last else (None, None)
        if tape is None:
            return end, None
        return end, Kept(block, [tape], {"prefix": prefix, "nought": nought})

    def _end(self, step: Step, numbers, final: Arrays, out, view: Arrays):
        """The final output of a loop, and what it is of sequences of length 0 where they have no output of a step."""
        if not step.separate_output:  # what the caller gets as state and as output is not one memory
            return self.rows_of(final, [step.output_state]), None
        end = last_rows(out, self.lengths, numbers[step.output.shape[0]] * (1 + len(step.seeded)))
        nought = nought_of(step, numbers, self.lengths, final, step.seeded)
        if nought is not None:
            end[nought.at] = nought.ends(view)
        return end, nought

    def _join(self, block: Join, prefix, xs, rows, sizes, out, last):
        return join(self, block, prefix, xs, rows, sizes, out, last)

    def _chain(self, block: Chain, prefix, xs, rows, sizes, out, last):
        kept = Kept(block, [], {"prefix": prefix, "stages": [], "rows": rows, "out": None if out is None else out[2]})
        many = len(block.blocks)
        kept.extra["compact"] = len(xs) > 1
        if len(xs) > 1:
            xs, rows = self._compact(xs, rows), self.ragged()
        for k, inner, read in block.stages(sizes):
            final = k == many - 1
            features = inner.features(read)
            residual = block.residual and k > 0
            if final:
                to = out
            else:
                to = (self.backend.empty((self.total, features), self.dtype), 0, self.ragged())
            end, part = self.run(inner, f"{prefix}{k}.", xs, rows, read, to, last and final)
            kept.inner.append(part)
            if residual and to is not None:
                before = xs["x"][self.at(rows)]
                add(to, before, self.lengths)
            if residual and end is not None:
                end = end + last_rows((xs["x"], 0, rows), self.lengths, features)
            stage = {"read": read, "mask": None, "x_rows": rows, "count": len(next(iter(xs.values()), ()))}
            kept.extra["stages"].append(stage)
            if final:
                return end, kept
            if block.dropout and self.rng is not None:
                stage["mask"] = self.dropped(to[0].shape, block.dropout, self.rng, self.dtype)
                to[0][...] *= stage["mask"]
            xs, rows = {**xs, "x": to[0]}, to[2]
        raise AssertionError("a chain has a last block")

    def _compact(self, xs: Arrays, rows: Rows) -> dict[str, np.ndarray]:
        index = self.at(rows)
        made = {name: self.backend.xp.ascontiguousarray(x[index]) for name, x in xs.items()}
        if any(xs.get("x") is known for known in self.tokens):
            self.tokens.append(made["x"])
        return made

    # backward: returns the adjoints of the inputs that are wanted, in their rows
    def back(self, kept: Kept, dy, dlast, want, grads: Params, dfinal: Arrays) -> dict[str, np.ndarray]:
        block = kept.block
        if isinstance(block, Loop):
            return self._loop_back(kept, dy, dlast, want, grads, dfinal)
        if dy is not None:  # in the order in which this block wrote its output
            dy = (dy[0], dy[1], kept.extra["out"])
        if isinstance(block, Join):
            return self._join_back(kept, dy, dlast, want, grads, dfinal)
        if isinstance(block, Translate):
            return translate_back(self, kept, dy, want, grads, dfinal)
        assert isinstance(block, Chain)
        return self._chain_back(kept, dy, dlast, want, grads, dfinal)

    def _loop_back(self, kept, dy, dlast, want, grads, dfinal):
        tape, prefix = kept.inner[0], kept.extra["prefix"]
        step, size = tape.layer.step, tape.sizes[tape.layer.step.output.shape[0]]
        final = {s: dfinal[prefix + s] for s in step.states if prefix + s in dfinal}
        view = {p.name: self.params[prefix + p.name] for p in step.params}
        mine = {p.name: grads[prefix + p.name] for p in step.params}
        if dlast is not None and step.separate_output:
            dy = self._with_last(dy, dlast, tape)
            if kept.extra["nought"] is not None:
                kept.extra["nought"].back(view, dlast, final, mine)
        elif dlast is not None:
            for s, d in self.states_of(dlast, [(step.output_state, size)]).items():
                final[s] = final[s] + d if s in final else d
        names = self.wanted(tape.layer, [n for n in want if n in step.inputs])
        dextras = None if dy is None else dict(beside(step, size, dy))
        seeds = None if dy is None else dy[:2]
        dxs, dstate = self.backend.loop_backward(tape, view, seeds, final, names, mine, self.dsources, dextras)
        self.dstate |= {prefix + s: v for s, v in dstate.items()}
        return self.sequences(tape.layer, dxs)

    def _with_last(self, dy, dlast, tape):
        """dy with the adjoint of the final output put at each sequence's last step."""
        if dy is None:
            rows = tape.y_rows
            size = int((rows.base + np.maximum(rows.step, 0) * np.maximum(self.lengths - 1, 0)).max(initial=-1)) + 1
            dy = (self.backend.zeros((max(size, 1), dlast.shape[1]), self.dtype), 0)
        else:
            dy = (dy[0].copy(), dy[1])
        has, at = ends(dlast, tape.y_rows, self.lengths)
        dy[0][at, dy[1] : dy[1] + dlast.shape[1]] += dlast[has]
        return dy

    def _join_back(self, kept, dy, dlast, want, grads, dfinal):
        return join_back(self, kept, dy, dlast, want, grads, dfinal)

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
                    d = self.backend.zeros((self.total, stage["read"]["x"]), self.dtype)
                mask = stages[k - 1]["mask"]
                dy, dlast = (d if mask is None else d * mask, 0, self.ragged()), None
        if kept.extra["compact"]:
            index, back = self.at(kept.extra["rows"]), {}
            for name, dx in total.items():
                back[name] = self.backend.zeros((len(self.batch.arrays[name]), dx.shape[1]), self.dtype)
                back[name][index] = dx
            return back
        return total

    def _residual_back(self, dx, dy, dlast, stage):
        if dy is not None:
            dx[self.at(stage["x_rows"])] += dy[0][self.at(dy[2]), dy[1] : dy[1] + dx.shape[1]]
        if dlast is not None:
            has, last = ends(dx, stage["x_rows"], self.lengths)
            dx[last] += dlast[has]
