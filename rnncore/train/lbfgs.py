"""L-BFGS on the whole training set, by SciPy, in rounds that a checkpoint can stand between."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["LBFGS", "Round", "minimize_round"]


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS, full batch (Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16, 1995).

    An epoch of the trainer is a round of `iterations`. The memory of curvature starts anew with
    each round, so that a run resumed between two rounds ends where an unbroken one does.

    Parameters
    ----------
    iterations : int
        Line searches of a round, at least 1.
    memory : int
        Pairs of vectors kept, at least 1.

    Raises
    ------
    InputError
        If one of the two is below 1.

    Examples
    --------
    >>> LBFGS(iterations=50)
    LBFGS(iterations=50, memory=10)
    """

    iterations: int = 20
    memory: int = 10

    def __post_init__(self):
        if self.iterations < 1 or self.memory < 1:
            raise InputError(f"L-BFGS needs at least 1 of iterations and of memory, got {self}")

    def describe(self) -> dict[str, Any]:
        """Name and options as plain JSON."""
        return {"name": "lbfgs", "options": asdict(self)}


@dataclass(frozen=True)
class Round:
    """What a round of L-BFGS came to."""

    flat: np.ndarray
    loss: float
    grad_norm: float
    iterations: int
    finished: bool


def minimize_round(objective: Callable, flat: np.ndarray, settings: LBFGS) -> Round:
    """Minimise for some iterations, starting from `flat`.

    Parameters
    ----------
    objective : callable
        From a vector like `flat` to the loss, a float, and its gradient, (n,) float64.
    flat : ndarray, (n,), float32 or float64
        SciPy works in float64; the objective is asked in this dtype, and the result has it.
    settings : LBFGS

    Returns
    -------
    Round
        ``finished`` when there is no further progress to be made.
    """
    from scipy.optimize import minimize

    def in_double(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = objective(vector.astype(flat.dtype))
        if not math.isfinite(value):
            return math.inf, np.zeros(flat.size)
        return value, gradient

    options = {"maxiter": settings.iterations, "maxcor": settings.memory, "maxfun": 20 * settings.iterations}
    found = minimize(in_double, flat.astype(np.float64), jac=True, method="L-BFGS-B", options=options)
    return Round(
        found.x.astype(flat.dtype), float(found.fun), float(np.linalg.norm(found.jac)), int(found.nit),
        finished=found.status == 0 or (found.status == 2 and found.nit == 0),
    )  # fmt: skip
