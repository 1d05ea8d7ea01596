"""The picture of attention: what is looked at while each step is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["plot_attention"]

_BLANK = "\N{OPEN BOX}"


def plot_attention(alpha, source, written, ax: Any = None) -> Any:
    """Draw attention weights: a row for each step that is written, a column for each step of the source.

    Parameters
    ----------
    alpha : array_like, (steps, time)
        Of one sequence, as `Network.attention` gives them; rows and columns past the labels are left out.
    source, written : str or sequence of str
        What stands at each step, at most ``time`` and ``steps`` of them.
    ax : matplotlib.axes.Axes, optional
        Of a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        There are more labels than weights.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.diagnosis import plot_attention
    >>> ax = plot_attention(np.eye(3), "abc", "xyz")
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['x', 'y', 'z']
    """
    weights = np.asarray(alpha)
    if weights.ndim != 2 or weights.dtype.kind not in "fiub":
        raise InputError(f"alpha must be numbers (steps, time), got {weights.dtype} of shape {weights.shape}")
    for name, labels, most in (("written", written, weights.shape[0]), ("source", source, weights.shape[1])):
        if len(labels) > most:
            raise InputError(f"{name} has {len(labels)} steps, alpha of shape {weights.shape} has {most}")
    if ax is None:
        from matplotlib.figure import Figure

        size = (1 + 0.24 * max(len(source), 4), 1 + 0.24 * max(len(written), 4))
        ax = Figure(figsize=size, layout="constrained").subplots()
    shown = weights[: len(written), : len(source)]
    if shown.size:
        ax.imshow(shown, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    ax.set_xticks(np.arange(len(source)), [_shown(text) for text in source])
    ax.set_yticks(np.arange(len(written)), [_shown(text) for text in written])
    ax.set(xlabel="source", ylabel="written")
    ax.xaxis.set_label_position("top")
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    return ax


def _shown(text: str) -> str:
    return _BLANK if text == " " else text
