"""What a pass does between its loops: affine maps of rows, states as rows, rows as what loops read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .arguments import whole
from .backends import Backend
from .errors import InputError
from .params import Params

__all__ = ["Between", "generator_of"]

Arrays = Mapping[str, np.ndarray]
Sized = Sequence[tuple[str, int]]


def generator_of(seed) -> np.random.Generator | None:
    """The generator of dropout; None for no dropout.

    Raises
    ------
    InputError
        `seed` is neither None nor an integer of at least 0.
    """
    if seed is None:
        return None
    if whole(seed, 0) is None:
        raise InputError(f"seed must be None or an integer of at least 0, got {seed!r}")
    return np.random.default_rng(int(seed))


class Between:
    """Rows that are values alone. What carries more in a row than values does each of these in its own way."""

    params: Arrays
    backend: Backend

    def affine(self, rows: np.ndarray, matrix: str, bias: str) -> np.ndarray:
        """The map of rows by the parameters at two paths."""
        return self.backend.affine(rows, self.params[matrix], self.params[bias])

    def affine_back(self, d: np.ndarray, rows: np.ndarray, matrix: str, bias: str, grads: Params) -> np.ndarray:
        """Adjoint of the rows that `affine` read; adds to the gradients of its parameters."""
        return self.backend.affine_backward(d, rows, self.params[matrix], grads[matrix], grads[bias])

    def rows_of(self, states: Arrays, paths: Sequence[str]) -> np.ndarray:
        """States beside one another, in memory of their own."""
        return self.backend.xp.concatenate([states[p] for p in paths], 1)

    def states_of(self, rows: np.ndarray, sized: Sized) -> dict[str, np.ndarray]:
        """The states, of these sizes, that rows hold beside one another."""
        ends = np.cumsum([size for _, size in sized])
        return {path: rows[:, end - size : end] for (path, size), end in zip(sized, ends)}

    def source(self, name: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Rows as what the steps of a loop see whole."""
        return {name: rows}

    def inputs(self, layer, xs: Arrays) -> Arrays:
        """Sequences as what a layer reads."""
        return xs

    def wanted(self, layer, names: Sequence[str]) -> tuple[str, ...]:
        """What of a layer's inputs must have an adjoint, if these sequences are to have one."""
        return tuple(names)

    def sequences(self, layer, dxs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Adjoints of sequences from those of what a layer reads of them."""
        return dxs

    def dropped(self, shape: tuple[int, ...], share: float, rng: np.random.Generator, dtype) -> np.ndarray:
        """Factors of dropout for rows of this shape."""
        return self.backend.put((rng.random(shape) >= share).astype(dtype) / dtype.type(1 - share))
