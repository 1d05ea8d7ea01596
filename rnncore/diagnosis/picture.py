"""The picture of a diagnosis: gradients over time, what a step does, which gates are shut."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["draw", "save"]

_MOST = 12  # lines that a legend can hold
_BANDS = 4  # states whose spread over sequences can be told apart


def draw(found) -> Any:
    """A figure of a `Diagnosis`."""
    from matplotlib.figure import Figure

    rows = max(1, len(found.saturation))
    figure = Figure(figsize=(11, max(6.6, 4.2 + 0.22 * rows)), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    _gradients(parts[0].subplots(), found)
    left, right = parts[1].subplots(1, 2)
    _spectra(left, found)
    _gates(right, found)
    return figure


def _gradients(ax, found) -> None:
    drawn = False
    for k, state in enumerate(found.gradient_norms):
        mean = found.over_time(state)
        if not np.isfinite(mean).any():
            continue
        label = f"{state}: {found.verdict(state)}, × {found.decay(state):.3g} per step back" if k < _MOST else None
        steps = np.arange(len(mean)) - len(mean) + 1
        line = ax.plot(steps, mean, label=label, linewidth=1.8)[0]
        drawn = True
        if len(found.gradient_norms) <= _BANDS:
            norms = found.from_the_end(state)
            low, high = np.where(norms > 0, norms, np.inf).min(0), np.where(norms > 0, norms, 0).max(0)
            ax.fill_between(steps, low, high, where=high > 0, color=line.get_color(), alpha=0.15, linewidth=0)
    ax.set(xlabel="step, counted back from the last of each sequence", ylabel="‖∂L/∂state$_t$‖")
    ax.set_title("How much of the gradient reaches each step (line: mean of sequences, band: all of them)")
    if drawn:
        ax.set_yscale("log")
        ax.legend(loc="best", fontsize="small")
    ax.grid(alpha=0.3)


def _spectra(ax, found) -> None:
    drawn = [loop for loop, values in found.singular_values.items() if values.size]
    for k, loop in enumerate(drawn):
        values = found.singular_values[loop]
        shown = np.where(values > 0, values, np.nan).T
        ranks = np.arange(1, len(shown) + 1)
        lines = ax.plot(ranks, shown, color=f"C{k % 10}", alpha=0.6, linewidth=1)
        lines[0].set_label(_label(found, loop))
    ax.axhline(1, color="black", linewidth=0.8, linestyle=":")
    ax.set(xlabel="rank", ylabel="singular value", title="∂state$_{t+1}$ / ∂state$_t$, one line for each chosen step")
    if drawn:
        ax.set_yscale("log")
        bottom, top = ax.get_ylim()
        ax.set_ylim(max(bottom, top * 1e-8), max(top, 2))
        ax.legend(loc="best", fontsize="small")
    ax.grid(alpha=0.3)


def _label(found, loop: str) -> str:
    name, exponents = found.loop_name(loop), found.lyapunov_exponents[loop]
    if not len(exponents):
        return name
    growth = f"× {np.exp(exponents[0]):.3g} a step (Lyapunov exponent {exponents[0]:.3g})"
    return growth if name == "the loop" else f"{name}: {growth}"


def _gates(ax, found) -> None:
    names = list(found.saturation)
    colors: dict[float, str] = {-1: "C0", 0: "C2", 1: "C3"}
    left = np.zeros(len(names))
    for limit, color in colors.items():
        share = np.array([100 * found.saturation[n].get(limit, 0.0) for n in names])
        if any(limit in found.saturation[n] for n in names):
            ax.barh(np.arange(len(names)), share, left=left, height=0.6, color=color, label=f"near {limit}")
            left = left + share
    for row, total in enumerate(left):
        ax.text(total + 1, row, f"{total:.1f} %", va="center", fontsize="small")
    ax.set_yticks(np.arange(len(names)), names)
    ax.set(xlim=(0, 112), xticks=range(0, 101, 20), xlabel="outputs at a limit, %")
    ax.set_title(f"Saturation (within {found.threshold:g} of a limit)")
    if names:
        ax.set_ylim(max(len(names), 3) - 0.5, -0.5)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize="small")
    ax.grid(alpha=0.3, axis="x")


def save(figure: Any, path: str | Path) -> None:
    """Write a figure; the format is that of the ending."""
    ending = Path(path).suffix[1:].lower() or "png"
    if ending not in figure.canvas.get_supported_filetypes():
        raise InputError(f"{path}: no picture format is called {ending!r}; use .png, .svg or .pdf")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending, dpi=150)
    Path(path).write_bytes(buffer.getvalue())
