"""Sequences of length 0 whose output follows from the states: they end in what it is of the initial ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backends import indexed, zeros_beside
from .lang.trace import Step
from .plan.ending import Ending, ending_of
from .reference.interpreter import evaluate

__all__ = ["Nought", "nought_of"]

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Nought:
    """The sequences of length 0 of a loop: where they are, their states, the loop's sizes, how its output is read."""

    at: Any  # what indexes them
    states: dict[str, np.ndarray]
    sizes: Mapping[Any, int]
    ending: Ending

    def ends(self, params: Arrays) -> np.ndarray:
        """Their outputs, (sequences, features), those of several beside one another."""
        return np.concatenate(list(evaluate(self.ending.roots, self._leaves(params), self.sizes).values()), 1)

    def back(self, params: Arrays, dlast: np.ndarray, final: dict[str, np.ndarray], grads: Arrays) -> None:
        """Add what `dlast`, the adjoint of the final outputs (batch, features), is to final states and parameters."""
        several = np.split(dlast[self.at], len(self.ending.roots), 1)
        leaves = self._leaves(params) | {("out", n): d for n, d in zip(self.ending.roots, several, strict=True)}
        for key, value in evaluate(self.ending.reverse, leaves, self.sizes).items():
            kind, name = key.split(".", 1)
            if kind == "p":
                grads[name][...] += value.sum(0)
                continue
            before = final.get(name)
            whole = zeros_beside(dlast, (len(dlast), value.shape[1])) if before is None else before.copy()
            whole[self.at] += value
            final[name] = whole

    def _leaves(self, params: Arrays) -> dict[tuple[str, str], np.ndarray]:
        return {("param", n): v for n, v in params.items()} | {("state", s): v for s, v in self.states.items()}


def nought_of(
    step: Step, sizes: Mapping[Any, int], lengths: np.ndarray, final: Arrays, extras: tuple[str, ...] = ()
) -> Nought | None:
    """The sequences of length 0 among those of `lengths`; None where there are none, or their output is not known."""
    at = np.flatnonzero(lengths == 0)
    ending = ending_of(step, extras) if len(at) else None
    if ending is None:
        return None
    at = indexed(next(iter(final.values())), at)
    return Nought(at, {s: v[at] for s, v in final.items()}, sizes, ending)
