"""A network and its directional derivative in one pass: every sequence carries its direction beside it.

An array of rows of width F becomes one of width 2 F, the values in the first half and their direction in the
second. Blocks stay what they are; a loop runs the tangent of its step (`rnncore.plan.tangent`), which is a step, and
what a pass does between loops (`rnncore.between`) does it to both halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .backends import Backend, backend_of, zeros_beside
from .between import Between
from .combine.blocks import Block, Chain, Join, Loop, Reverse
from .combine.translate import KEYS, VALUES, Translate
from .inputs import Batch
from .joined import ragged_dy
from .lang.cell import Layer, sizes_of
from .lang.trace import Step
from .params import Params
from .passes import Pass
from .plan.tangent import dotted, tangent_of
from .rows import put
from .teaching import Lesson
from .vectors import bridge_names

__all__ = ["Directed", "DualLayer", "DualPass", "halves"]

Moved = frozenset[str]


@dataclass(frozen=True, eq=False)
class DualLayer:
    """A layer's step together with its tangent; `moved` are the inputs and sources that have a direction."""

    step: Step
    moved: Moved = frozenset()
    members: tuple[tuple[str, Layer], ...] = ()

    @property
    def name(self) -> str:
        return self.step.name


def _dual_layer(step: Step, moved: Moved, params: bool) -> DualLayer:
    moved = moved & {*step.inputs, *step.sources}
    return DualLayer(tangent_of(step, moved, params), moved)


def _single(sizes: Mapping[str, int], moved: Moved) -> dict[str, int]:
    return {name: n // 2 if name in moved else n for name, n in sizes.items()}


@dataclass(frozen=True)
class DualLoop(Loop):
    """A loop of which the inputs and sources in `moved`, and the parameters if `params`, have a direction."""

    moved: Moved = frozenset()
    params: bool = True

    def walk(self, prefix, sizes):
        layer = _dual_layer(self.layer.step, self.moved, self.params)
        yield prefix, layer, sizes_of(self.layer, _single(sizes, self.moved))

    def features(self, sizes):
        return 2 * super().features(_single(sizes, self.moved))


@dataclass(frozen=True)
class DualTranslate(Translate):
    """An encoder and its decoder with directions; `plain` says what hands over to what."""

    plain: Translate
    moved: Moved

    def handed(self, prefix, sizes):
        return self.plain.handed(prefix, _single(sizes, self.moved))


def dual_block(block: Block, moved: Moved, params: bool) -> Block:
    """The block with a direction beside each sequence."""
    if isinstance(block, Loop):
        return DualLoop(block.layer, moved, params)
    if isinstance(block, Reverse):
        return Reverse(dual_block(block.block, moved, params))
    if isinstance(block, Join):
        return Join(block.names, tuple(dual_block(b, moved, params) for b in block.blocks), block.merge)
    later = moved | {"x"}
    if isinstance(block, Translate):
        encoder = dual_block(block.encoder, moved, params)
        keys = None if block.keys is None else DualLoop(block.keys.layer, later, params)
        decoder = DualLoop(block.decoder.layer, frozenset({VALUES, KEYS + "k0"}), params)
        return DualTranslate(encoder, decoder, keys, block.bridge, block, moved)
    assert isinstance(block, Chain)
    blocks = tuple(dual_block(b, later if k else moved, params) for k, b in enumerate(block.blocks))
    return Chain(blocks, block.dropout, block.residual)


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
        self.net, self.inputs, self.moved, self.moves = net, net.inputs, moved, dparams is not None
        self.outputs, self.features, self.per_step, self.feed = net.outputs, 2 * net.features, net.per_step, net.feed
        self.block = dual_block(net.block, moved, self.moves)
        self.fed = {name: 2 * n if name in moved else n for name, n in net.fed.items()}
        walked: Any = self.block.walk("", self.fed)
        self.loops: dict[str, tuple[DualLayer, Any]] = {prefix: (layer, sizes) for prefix, layer, sizes in walked}
        learned = {f"{p}{s}0": f"{p}{dotted(s)}0" for p, (layer, _) in net.loops.items() for s in layer.step.states}
        # a parameter's path to that of its direction
        self.twins = {path: learned.get(path, dotted(path)) for path in net.shapes} if self.moves else {}
        self.shapes = self._shapes()
        self.params = Params.zeros(self.shapes, params.dtype, params.device)
        self.backend = backend_of(params.device, params.rounding)
        for path in net.shapes:
            self.params[path] = params[path]
            if dparams is not None:
                self.params[self.twins[path]] = dparams[path]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Of parameters and directions, those of a loop side by side in the order of its tangent."""
        plain = {twin: path for path, twin in self.twins.items()}
        in_loops = [prefix + p.name for prefix, (layer, _) in self.loops.items() for p in layer.step.params]
        paths = dict.fromkeys([*in_loops, *self.net.shapes, *plain])
        return {path: self.net.shapes[plain.get(path, path)] for path in paths}

    def batch(self, batch: Batch, dx: Mapping[str, np.ndarray], dstate: Mapping[str, np.ndarray]) -> Batch:
        """`batch` with directions of inputs, by name in the rows of the inputs, and of initial states.

        Given states move along `dstate` alone, learned ones with the parameters, too; what is made of a vector moves
        with that.
        """
        join = self.backend.xp.concatenate
        arrays = {k: join([v, dx[k]], 1) if k in self.moved else v for k, v in batch.arrays.items()}
        start, vector = self._starts(batch, dstate), batch.vector
        if vector is not None:
            vector = join([vector, dx["x"] if "x" in dx else zeros_beside(vector, vector.shape)], 1)
            for path in batch.bridged:
                rows = _affine(self.backend, self.params, vector, *bridge_names(path))
                start[path], start[dotted(path)] = halves(rows)
        steady = (*batch.steady, *map(dotted, batch.steady))
        return replace(
            batch, arrays=arrays, state=start, vector=vector, steady=steady, lesson=self._lesson(batch.lesson)
        )  # fmt: skip

    def _starts(self, batch: Batch, dstate: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        start = dict(batch.state or {})
        for path in [p for p in self.net.state_shapes if p in start or p in dstate]:
            shape = self.net.state_shapes[path]
            move = dstate[path] if path in dstate else self.backend.zeros((1, *shape), self.params.dtype)
            if path not in start and self.twins.get(path + "0") in self.params:
                move = move + self.params[self.twins[path + "0"]]
            start[dotted(path)] = self.backend.xp.broadcast_to(move, (batch.size, *shape))
        return start

    def _lesson(self, lesson: Lesson | None) -> Lesson | None:
        if lesson is None:
            return None
        moved = self.loops[lesson.prefix][0].moved
        return replace(lesson, layer=_dual_layer(lesson.layer.step, moved, self.moves))


def halves(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and directions of an array that holds them beside one another in its last axis."""
    half = rows.shape[-1] // 2
    return rows[..., :half].copy(), rows[..., half:].copy()


def _affine(backend: Backend, params: Params, rows: np.ndarray, matrix: str, bias: str) -> np.ndarray:
    """o = c + V h, and its direction do = dc + dV h + V dh."""
    h, dh = halves(rows)
    V, c, affine = params[matrix], params[bias], backend.affine
    do = affine(dh, V, zeros_beside(c, c.shape))
    if dotted(matrix) in params:
        do += affine(h, params[dotted(matrix)], params[dotted(bias)])
    return backend.xp.concatenate([affine(h, V, c), do], 1)


class DualBetween(Between):
    """Rows that are values and directions."""

    params: Params

    def affine(self, rows, matrix, bias):
        return _affine(self.backend, self.params, rows, matrix, bias)

    def affine_back(self, d, rows, matrix, bias, grads):
        (h, dh), (od, dod) = halves(rows), halves(d)
        V, dV = (self.params[name] for name in (matrix, dotted(matrix)))
        affine_backward = self.backend.affine_backward
        back = affine_backward(od, h, V, grads[matrix], grads[bias])
        back += affine_backward(dod, h, dV, grads[dotted(matrix)], grads[dotted(bias)])
        nothing = zeros_beside(grads[bias], grads[bias].shape)
        return self.backend.xp.concatenate([back, affine_backward(dod, dh, V, grads[matrix], nothing)], 1)

    def rows_of(self, states, paths):
        return self.backend.xp.concatenate([states[p] for p in (*paths, *map(dotted, paths))], 1)

    def states_of(self, rows, sized):
        return super().states_of(rows, [*sized, *((dotted(path), size) for path, size in sized)])

    def source(self, name, rows):
        half = rows.shape[1] // 2
        return {name: rows[:, :half], dotted(name): rows[:, half:]}

    def inputs(self, layer, xs):
        read = {}
        for name in layer.step.inputs:
            if name in layer.moved:
                read |= self.source(name, xs[name])
            elif name in xs:
                read[name] = xs[name]
        return read

    def wanted(self, layer, names):
        moved = [n for n in names if n in layer.moved]
        return (*moved, *map(dotted, moved))

    def sequences(self, layer, dxs):
        return {n: self.backend.xp.concatenate([d, dxs[dotted(n)]], 1) for n, d in dxs.items() if n in layer.moved}

    def dropped(self, shape, share, rng, dtype):
        half = super().dropped((shape[0], shape[1] // 2), share, rng, dtype)
        return self.backend.xp.concatenate([half, half], 1)


class DualPass(DualBetween, Pass):
    """A pass of a network with directions."""

    params: Params

    def _join(self, block: Join, prefix, xs, rows, sizes, out, last):
        if block.merge != "concat":
            return super()._join(block, prefix, xs, rows, sizes, out, last)
        own = None
        if out is not None:
            own = (self.backend.empty((self.total, block.features(sizes)), self.dtype), 0, self.ragged())
        end, kept = super()._join(block, prefix, xs, rows, sizes, own, last)
        order = kept.extra["order"] = _values_first([b.features(sizes) for b in block.blocks])
        kept.extra["out"] = None if out is None else out[2]
        take, columns = self.backend.xp.take, self.backend.index(order)
        if own is not None:
            put(out, take(own[0], columns, 1), self.lengths)
        return None if end is None else take(end, columns, 1), kept

    def _join_back(self, kept, dy, dlast, want, grads, dfinal):
        order = kept.extra.get("order")
        if order is not None:
            take, back = self.backend.xp.take, self.backend.index(np.argsort(order))
            if dy is not None:
                dy = (take(ragged_dy(self, dy, len(order), self.dtype.type(1))[0], back, 1), 0, self.ragged())
            dlast = None if dlast is None else take(dlast, back, 1)
        return super()._join_back(kept, dy, dlast, want, grads, dfinal)


def _values_first(widths: list[int]) -> np.ndarray:
    """The columns of parts that each are values and directions, in the order of all values and all directions."""
    starts = np.cumsum([0, *widths[:-1]])
    own = [np.arange(w // 2) + s for w, s in zip(widths, starts)]
    return np.concatenate([*own, *(h + w // 2 for h, w in zip(own, widths))])
