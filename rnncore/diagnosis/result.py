"""What a diagnosis found: arrays, words, a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Diagnosis"]

_EXPLODED, _VANISHED = 1e3, 1e-3  # ratio of the gradient at the first step to that at the last


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """How gradients flow through a network. Loops and states go by their path prefix, as parameters do.

    Attributes
    ----------
    value : float
        L; NaN where its gradient was given.
    gradient_norms : dict of str to ndarray, (batch, time)
        For each state (``"h"``, ``"0.c"``): the Euclidean norm of dL/dh_t after each step, in the order in which the
        loop runs (one that reads backward begins at a sequence's end); NaN past the lengths and at masked steps. Of
        a decoder, time is that of what it writes.
    steps : dict of str to ndarray, (k,) int
        For each loop the steps, in that order, of which the spectra are.
    singular_values, eigenvalue_moduli : dict of str to ndarray, (k, n)
        For each loop, of the Jacobian of the whole state (all n numbers of it) after a step by that before; falling.
    lyapunov_exponents : dict of str to ndarray, (m,)
        For each loop the largest, falling, per step: a small change grows or shrinks as exp(exponent * steps).
    saturation : dict of str to dict of float to float
        For each gate by its author's name: limit to the share of its outputs near it.
    threshold : float
        What is near.
    """

    value: float
    gradient_norms: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]
    singular_values: dict[str, np.ndarray]
    eigenvalue_moduli: dict[str, np.ndarray]
    lyapunov_exponents: dict[str, np.ndarray]
    saturation: dict[str, dict[float, float]]
    threshold: float

    def from_the_end(self, state: str) -> np.ndarray:
        """``gradient_norms[state]`` with every sequence moved to the end of the time axis."""
        norms = self.gradient_norms[state]
        moved = np.full_like(norms, np.nan)
        for row, to in zip(norms, moved):
            count = int(np.flatnonzero(~np.isnan(row)).max(initial=-1)) + 1
            to[len(row) - count :] = row[:count]
        return moved

    def loop_name(self, loop: str) -> str:
        """What a loop is called in words and pictures."""
        return loop.rstrip(".") or ("the loop" if len(self.singular_values) == 1 else "the decoder")

    def over_time(self, state: str) -> np.ndarray:
        """Geometric mean over sequences of the norms of `state`, (time,); NaN where none is above 0.

        Sequences are put together at their ends: the last number is of the last step of each.
        """
        norms = self.from_the_end(state)
        logs = np.log(norms, out=np.full_like(norms, np.nan), where=norms > 0)
        counts = np.isfinite(logs).sum(0)
        total = np.where(np.isfinite(logs), logs, 0).sum(0)
        return np.exp(np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0))

    def decay(self, state: str) -> float:
        """The factor by which the gradient changes for each step that it goes back, from a line through logarithms.

        Below 1 it vanishes, above 1 it explodes. NaN where there are less than two norms above 0.
        """
        mean = self.over_time(state)
        at = np.flatnonzero(np.isfinite(mean))
        return float(np.exp(-np.polyfit(at, np.log(mean[at]), 1)[0])) if len(at) > 1 else float("nan")

    def verdict(self, state: str) -> str:
        """``"vanishes"``, ``"explodes"`` or ``"lasts"``: at the first step, held against the last.

        Vanished is less than a thousandth, exploded more than a thousandfold. ``"is zero"`` if it is everywhere.
        """
        mean = self.over_time(state)
        mean = mean[np.isfinite(mean)]
        if len(mean) < 2:
            return "lasts" if len(mean) else "is zero"
        ratio = mean[0] / mean[-1]
        return "vanishes" if ratio < _VANISHED else "explodes" if ratio > _EXPLODED else "lasts"

    def plot(self, path: Any = None) -> Any:
        """Draw the diagnosis with matplotlib.

        Parameters
        ----------
        path : str or Path, optional
            Write the picture there as well; its ending gives the format.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            The ending names no format that matplotlib writes.
        """
        from .picture import draw, save

        figure = draw(self)
        if path is not None:
            save(figure, path)
        return figure

    def __str__(self) -> str:
        names = [*self.gradient_norms, *map(self.loop_name, self.singular_values), *self.saturation]
        width = max(12, *map(len, names))
        return "\n".join([*self._of_states(width), *self._of_loops(width), *self._of_gates(width)])

    __repr__ = __str__

    def _of_states(self, width: int) -> list[str]:
        lines = ["gradient of L with respect to each state, on its way back from a loop's last step to its first:"]
        for state in self.gradient_norms:
            mean = self.over_time(state)
            ends = mean[np.isfinite(mean)]
            if not len(ends):
                lines.append(f"  {state:<{width}} is zero at every step")
                continue
            lines.append(
                f"  {state:<{width}} {self.verdict(state)}: {ends[-1]:.2g} at the last step, "
                f"{ends[0]:.2g} at the first, a factor of {self.decay(state):.3f} a step"
            )
        return lines

    def _of_loops(self, width: int) -> list[str]:
        lines = ["a small change of the whole state, carried on by one step:"]
        for loop, values in self.singular_values.items():
            name, moduli = self.loop_name(loop), self.eigenvalue_moduli[loop]
            exponents = ", ".join(f"{e:.3g}" for e in self.lyapunov_exponents[loop])
            if values.size:
                lines.append(
                    f"  {name:<{width}} grows at most {values.max():.3g}-fold, "
                    f"singular values from {values.min():.2g}; largest eigenvalue {moduli.max():.3g} in modulus"
                )
            if exponents:
                lines.append(f"  {'':<{width}} largest Lyapunov exponents per step: {exponents}")
        return lines if len(lines) > 1 else []

    def _of_gates(self, width: int) -> list[str]:
        lines = [f"saturation: share of a gate's outputs within {self.threshold:g} of a limit:"]
        for name, limits in self.saturation.items():
            lines.append(f"  {name:<{width}} " + ", ".join(f"{v:.1%} near {limit:g}" for limit, v in limits.items()))
        return lines if len(lines) > 1 else []
