"""Sequences of length 0 whose output follows from the states: they end in what it is of the initial ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .lang.cell import Stepped
from .plan.ending import ending_of
from .reference.interpreter import evaluate

__all__ = ["Nought", "nought_of"]

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Nought:
    """The sequences of length 0 of a loop: where they are, their states, and the loop's sizes."""

    layer: Stepped
    at: np.ndarray
    states: dict[str, np.ndarray]
    sizes: Mapping[Any, int]

    def ends(self, params: Arrays) -> np.ndarray:
        """Their output, (sequences, features)."""
        ending = ending_of(self.layer.step)
        assert ending is not None
        return evaluate(ending.roots, self._leaves(params), self.sizes)["y"]

    def back(self, params: Arrays, dlast: np.ndarray, final: dict[str, np.ndarray], grads: Arrays) -> None:
        """Add what `dlast`, the adjoint of the final outputs (batch, features), is to final states and parameters."""
        ending = ending_of(self.layer.step)
        assert ending is not None
        leaves = self._leaves(params) | {("out", "y"): dlast[self.at]}
        for key, value in evaluate(ending.reverse, leaves, self.sizes).items():
            kind, name = key.split(".", 1)
            if kind == "p":
                grads[name][...] += value.sum(0)
                continue
            before = final.get(name)
            whole = np.zeros((len(dlast), value.shape[1]), dlast.dtype) if before is None else np.array(before)
            whole[self.at] += value
            final[name] = whole

    def _leaves(self, params: Arrays) -> dict[tuple[str, str], np.ndarray]:
        return {("param", n): v for n, v in params.items()} | {("state", s): v for s, v in self.states.items()}


def nought_of(layer: Stepped, sizes: Mapping[Any, int], lengths: np.ndarray, final: Arrays) -> Nought | None:
    """The sequences of length 0 among those of `lengths`; None where there are none, or their output is not known."""
    at = np.flatnonzero(lengths == 0)
    if not len(at) or ending_of(layer.step) is None:
        return None
    return Nought(layer, at, {s: v[at] for s, v in final.items()}, sizes)
