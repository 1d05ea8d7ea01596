"""Gradient checkpointing: the states of every k-th step are kept, the rest is computed again on the way back.

Chen, Xu, Zhang and Guestrin, Training deep nets with sublinear memory cost, arXiv:1604.06174, 2016; for recurrent
networks: Gruslys, Munos, Danihelka, Lanctot and Graves, Memory-efficient backpropagation through time, NeurIPS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..layout import Layout, layout_of
from .run import LoopTape, loop_forward, prepare

__all__ = ["CheckpointTape", "checkpointed_forward"]


@dataclass(eq=False)
class CheckpointTape(LoopTape):
    """What BPTT needs of one layer, but for what each stretch of `every` steps gives again when it is run again."""

    every: int = 1
    starts: list[dict[str, np.ndarray]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for start in self.starts for array in start.values())

    def release(self) -> None:
        self.starts = []

    def stretch(self, k: int) -> Layout:
        """The layout of the k-th stretch; sequences that end before it have length 0."""
        lengths = np.clip(self.layout.lengths - k * self.every, 0, self.every)
        return layout_of(lengths, bool((lengths == self.every).all()))

    def alive(self, k: int) -> np.ndarray:
        """Which sequences have steps in the k-th stretch, (batch,)."""
        return self.layout.lengths > k * self.every

    def keep(self, k: int, state: Mapping[str, np.ndarray]) -> None:
        """Keep the states that the k-th stretch starts from."""
        alive = self.alive(k)
        self.starts.append({s: value[alive] for s, value in state.items()})

    def start(self, k: int) -> dict[str, np.ndarray]:
        """The states that the k-th stretch starts from; zero where a sequence has no steps in it."""
        alive, state = self.alive(k), {}
        for s, kept in self.starts[k].items():
            state[s] = np.zeros((len(alive), kept.shape[1]), kept.dtype)
            state[s][alive] = kept
        return state

    def parts(self, params: Mapping[str, np.ndarray]) -> Iterator[LoopTape]:
        """Tapes of the stretches, the last first, each made when it is asked for and gone when the next is."""
        prepared = prepare(self.layer, "forward", params, self.sizes, str(self.dtype))
        try:
            for k in reversed(range(len(self.starts))):
                _, tape = self.run(k, prepared, self.start(k), None, {})
                yield tape
                tape.release()
        finally:
            prepared.weights.release()

    def run(self, k: int, prepared, state: Mapping[str, np.ndarray], out, extras: Mapping[str, np.ndarray]):
        """The k-th stretch forward from `state`: final states, and the stretch's own tape."""
        t0 = k * self.every
        to = (out[0], out[1], out[2].later(t0)) if out is not None else None
        final, tape = loop_forward(
            self.layer, self.sizes, prepared, self.stretch(k), self.xs, self.rows.later(t0), state, to, True,
            self.tokens, self.sources, extras,
        )  # fmt: skip
        tape.y_rows = self.y_rows.later(t0)
        return final, tape


def checkpointed_forward(
    every: int | str, layer, sizes: Mapping[Any, int], prepared, layout: Layout, xs, rows, state, out, tokens,
    sources=None, extras=None,
):  # fmt: skip
    """Run a layer forward and keep its states at every `every`-th step (see `loop_forward`).

    Parameters
    ----------
    every : int or "sqrt"
        ``"sqrt"``: the root of the number of steps, rounded, which keeps the least.

    Returns
    -------
    final : dict of str to ndarray
    tape : CheckpointTape
    """
    if every == "sqrt":
        every = max(1, round(math.sqrt(layout.time)))
    tape = CheckpointTape(
        layer, sizes, layout, dict(xs), rows, rows if out is None else out[2], {}, tokens,
        np.dtype(prepared.code.dtype), sources, int(every),
    )  # fmt: skip
    for k in range(max(1, -(-layout.time // tape.every))):
        tape.keep(k, state)
        state, part = tape.run(k, prepared, state, out, extras or {})
        part.release()
    return state, tape
