"""The optimisation step: clipping, the scheduled learning rate, an optimizer's equations on flat vectors."""

from __future__ import annotations

import inspect
import math

import numpy as np

from ..errors import InputError, PluginError
from ..lang.component import Bound

__all__ = ["Optimization", "clip_by_norm", "clip_by_value", "global_norm", "slot_names"]


def global_norm(g: np.ndarray) -> float:
    """Euclidean length of all gradients together; inf or NaN only where a gradient is.

    Parameters
    ----------
    g : ndarray, (n,)
    """
    # Pairwise sums: one result for every number of BLAS threads.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        total = float(np.square(g).sum())
    if not math.isfinite(total) or (total < 1e-30 and g.dtype == np.float32):
        largest = float(np.abs(g).max(initial=0.0))
        if largest == 0 or not math.isfinite(largest):
            return largest
        return largest * math.sqrt(float(np.square(g / largest).sum(dtype=np.float64)))
    return math.sqrt(total)


def clip_by_norm(g: np.ndarray, bound: float, norm: float | None = None) -> np.ndarray:
    """`g` scaled down to length `bound` where it is longer (Pascanu, Mikolov and Bengio, ICML 2013).

    Parameters
    ----------
    g : ndarray, (n,)
        All gradients together.
    bound : float
    norm : float, optional
        The length of `g`, where it is known.
    """
    norm = global_norm(g) if norm is None else norm
    return g * (bound / norm) if norm > bound else g


def clip_by_value(g: np.ndarray, bound: float) -> np.ndarray:
    """`g` with every element within -bound and bound."""
    return np.clip(g, -bound, bound)


def slot_names(optimizer: Bound) -> tuple[str, ...]:
    """Names of an optimizer's slots: the positional parameters after ``p, g, t, lr``."""
    parameters = inspect.signature(optimizer.component.fn).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(names) < 4:
        raise PluginError(
            f"{_where(optimizer)}: expected the parameters (p, g, t, lr, *slots), got ({', '.join(names)})"
        )
    return tuple(names[4:])


class Optimization:
    """An optimizer at work on one flat vector.

    Parameters
    ----------
    optimizer, schedule : Bound
        With their options chosen.
    learning_rate : float
        Before the schedule's factor.
    total : int
        Planned number of updates, which the schedule is told.
    size : int
        Number of parameters.
    dtype : dtype
        float32 or float64.
    clip_value, clip_norm : float, optional
        Bounds of each element and of the length of the gradient, applied in this order.

    Attributes
    ----------
    count : int
        Updates done.
    slots : dict of str to ndarray, (size,)
    norm : float
        Length of the last gradient, before clipping.

    Raises
    ------
    InputError
        If an option of the optimizer or schedule is refused by it.
    PluginError
        If the optimizer or schedule returns something of a wrong kind.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.lang import optimizer, schedule
    >>> @optimizer
    ... def descent(p, g, t, lr):
    ...     return (p - lr * g,)
    >>> @schedule
    ... def halving(t, total):
    ...     return 0.5**t
    >>> o = Optimization(descent(), halving(), 1.0, total=2, size=1, dtype=np.float64)
    >>> p = np.array([3.0])
    >>> o.update(p, np.array([1.0])), o.update(p, np.array([1.0])), p.tolist()
    (True, True, [1.5])
    """

    def __init__(
        self, optimizer: Bound, schedule: Bound, learning_rate: float, *, total: int, size: int, dtype,
        clip_norm: float | None = None, clip_value: float | None = None,
    ):  # fmt: skip
        self.optimizer, self.schedule, self.learning_rate = optimizer, schedule, float(learning_rate)
        self.total, self.clip_norm, self.clip_value = total, clip_norm, clip_value
        self.count, self.norm = 0, 0.0
        self.slots = {name: np.zeros(size, dtype) for name in slot_names(optimizer)}
        self._try_out(np.zeros(1, dtype))

    def rate(self, count: int) -> float:
        """The learning rate of the update that follows `count` others."""
        return self.learning_rate * float(self.schedule(count, self.total))

    def update(self, p: np.ndarray, g: np.ndarray) -> bool:
        """Update `p`, (size,), in place along the gradient `g`, which is left as it is.

        Returns
        -------
        bool
            False, and nothing is changed, where the gradient is not finite.
        """
        if self.clip_value is not None:
            g = clip_by_value(g, self.clip_value)
        self.norm = global_norm(g)
        if not math.isfinite(self.norm):
            return False
        if self.clip_norm is not None:
            g = clip_by_norm(g, self.clip_norm, self.norm)
        rate = self.rate(self.count)
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            results = self.optimizer(p, g, self.count + 1, rate, *self.slots.values())
        new, *slots = self._checked(results, p)
        self.slots = dict(zip(self.slots, slots, strict=True))
        self.count += 1
        p[...] = new
        return True

    def _checked(self, results, p: np.ndarray):
        if not isinstance(results, tuple) or len(results) != 1 + len(self.slots):
            names = ", ".join(["p", *self.slots])
            raise PluginError(f"{_where(self.optimizer)}: expected a tuple ({names}), got {_told(results)}")
        for name, value in zip(("p", *self.slots), results, strict=True):
            if type(value) is not np.ndarray or value.shape != p.shape or value.dtype != p.dtype:
                raise PluginError(
                    f"{_where(self.optimizer)}: expected {name} back as {p.dtype} of shape {p.shape}, "
                    f"got {_told(value)}"
                )
        return results

    def _try_out(self, one: np.ndarray) -> None:
        """Run both once on a vector of one number, so that a mistake shows before anything is computed."""
        try:
            factor = self.schedule(0, max(1, self.total))
            results = self.optimizer(one, one, 1, self.learning_rate, *[one] * len(self.slots))
        except (TypeError, ValueError, ArithmeticError) as error:
            raise InputError(f"{self.optimizer!r} with {self.schedule!r} fails: {error}") from error
        if not isinstance(factor, int | float | np.number) or not math.isfinite(factor):
            raise PluginError(f"{_where(self.schedule)}: expected a finite number back, got {_told(factor)}")
        self._checked(results, one)


def _where(bound: Bound) -> str:
    component = bound.component
    return f"{component.kind} {bound.name!r} ({component.filename}:{component.lineno})"


def _told(value) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"{type(value).__name__} {value!r}"
