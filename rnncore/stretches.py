"""Gradient checkpointing: the states of every k-th step are kept, the rest is computed again on the way back.

Chen, Xu, Zhang and Guestrin, Training deep nets with sublinear memory cost, arXiv:1604.06174, 2016; for recurrent
networks: Gruslys, Munos, Danihelka, Lanctot and Graves, Memory-efficient backpropagation through time, NeurIPS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .layout import Layout, layout_of

__all__ = ["Stretches"]

Arrays = Mapping[str, Any]


class Stretches:
    """A tape that keeps the states before each stretch of `every` steps alone: a base class beside a loop's tape.

    Attributes
    ----------
    every : int
    starts : list of dict of str to array
        The states of the sequences that have steps in a stretch.
    """

    every: int
    starts: list[dict[str, Any]]
    # of the loop's own
    prepare: Callable[..., Any]
    loop_forward: Callable[..., Any]
    begun: Callable[..., Any]  # a tape of its fields by name, of which nothing is kept yet
    index: Callable[[np.ndarray], Any]  # what indexes states, from integers on the host
    layer: Any
    sizes: Mapping[Any, int]
    layout: Layout
    xs: dict[str, Any]
    rows: Any
    y_rows: Any
    tokens: bool
    dtype: np.dtype
    sources: Any

    @classmethod
    def forward(
        cls, every: int | str, layer, sizes: Mapping[Any, int], prepared, layout: Layout, xs: Arrays, rows, state, out,
        tokens: bool, sources=None, extras: Arrays | None = None,
    ):  # fmt: skip
        """Run a layer forward and keep its states at every `every`-th step, by kernels that keep nothing else.

        Parameters
        ----------
        every : int or "sqrt"
            ``"sqrt"``: the root of the number of steps, rounded, which keeps the least.
        layer, sizes, prepared, layout, xs, rows, state, out, tokens, sources, extras
            As of the backend's ``loop_forward``.

        Returns
        -------
        final : dict of str to array
        tape : Stretches
        """
        if every == "sqrt":
            every = max(1, round(math.sqrt(layout.time)))
        tape = cls.begun(
            prepared, layer=layer, sizes=sizes, layout=layout, xs=dict(xs), rows=rows,
            y_rows=rows if out is None else out[2], tokens=tokens, dtype=np.dtype(prepared.code.dtype),
            sources=sources, every=int(every),
        )  # fmt: skip
        for k in range(max(1, -(-layout.time // tape.every))):
            tape.keep(k, state)
            state, _ = tape.run(k, prepared, state, out, extras or {}, False)
        return state, tape

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for start in self.starts for array in start.values())

    def release(self) -> None:
        self.starts = []

    def stretch(self, k: int) -> Layout:
        """The layout of the k-th stretch; sequences that end before it have length 0."""
        lengths = np.clip(self.layout.lengths - k * self.every, 0, self.every)
        return layout_of(lengths, bool((lengths == self.every).all()))

    def alive(self, k: int) -> Any:
        """What indexes the sequences that have steps in the k-th stretch."""
        return self.index(np.flatnonzero(self.layout.lengths > k * self.every))

    def keep(self, k: int, state: Arrays) -> None:
        """Keep the states that the k-th stretch starts from."""
        alive = self.alive(k)
        self.starts.append({s: value[alive] for s, value in state.items()})

    def start(self, k: int) -> dict[str, Any]:
        """The states that the k-th stretch starts from; zero where a sequence has no steps in it."""
        alive, state = self.alive(k), {}
        for s, kept in self.starts[k].items():
            state[s] = np.zeros_like(kept, shape=(self.layout.batch, kept.shape[1]))
            state[s][alive] = kept
        return state

    def parts(self, params: Arrays) -> Iterator[Any]:
        """Tapes of the stretches, the last first, each made when it is asked for and gone when the next is."""
        prepared = self.prepare(self.layer, "forward", params, self.sizes, str(self.dtype))
        try:
            for k in reversed(range(len(self.starts))):
                _, tape = self.run(k, prepared, self.start(k), None, {}, True)
                yield tape
                tape.release()
        finally:
            prepared.weights.release()

    def run(self, k: int, prepared, state: Arrays, out, extras: Arrays, training: bool):
        """The k-th stretch forward from `state`: final states, and in `training` the stretch's own tape."""
        t0 = k * self.every
        to = (out[0], out[1], out[2].later(t0)) if out is not None else None
        final, tape = self.loop_forward(
            self.layer, self.sizes, prepared, self.stretch(k), self.xs, self.rows.later(t0), state, to, training,
            self.tokens, self.sources, extras,
        )  # fmt: skip
        if tape is not None:
            tape.y_rows = self.y_rows.later(t0)
        return final, tape
