"""Texts with what they are to become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FileError, InputError

__all__ = ["Pairs", "read_pairs"]


@dataclass(frozen=True)
class Pairs:
    """Source texts and target texts.

    Parameters
    ----------
    sources, targets : sequence of str
        As many of both.

    Raises
    ------
    InputError
        They differ in number, or are no texts.

    Examples
    --------
    >>> from rnncore.data import Pairs
    >>> pairs = Pairs(["two", "three", "five"], ["2", "3", "5"])
    >>> pairs, pairs[1:].targets
    (Pairs(3 pairs, 3 to 5 characters to 1), ('3', '5'))
    """

    sources: Sequence[str]
    targets: Sequence[str]

    def __post_init__(self):
        for name in ("sources", "targets"):
            texts = getattr(self, name)
            if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
                raise InputError(f"{name}: expected a sequence of texts, got {type(texts).__name__}")
            object.__setattr__(self, name, tuple(texts))
        if len(self.sources) != len(self.targets):
            raise InputError(f"{len(self.targets)} targets are given for {len(self.sources)} sources")

    def __len__(self) -> int:
        return len(self.sources)

    def __repr__(self) -> str:
        return f"Pairs({len(self)} pairs, {_span(self.sources)} characters to {_span(self.targets)})"

    def __getitem__(self, indices) -> Pairs:
        """The pairs at `indices`: a slice, a mask, or integers."""
        chosen = np.atleast_1d(np.arange(len(self))[indices])
        return Pairs([self.sources[k] for k in chosen], [self.targets[k] for k in chosen])


def _span(texts: Sequence[str]) -> str:
    counts = {len(text) for text in texts}
    return " to ".join(str(n) for n in sorted({min(counts), max(counts)})) if counts else "no"


def read_pairs(path: str | Path) -> Pairs:
    """Read a UTF-8 text file with a pair on each line: source, tabulator, target. Empty lines are skipped.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    FileError
        The file cannot be read, or a line is no pair; it is named.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rnncore.data import read_pairs
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "numbers.tsv"
    >>> _ = path.write_text("two\\t2\\nthree\\t3\\n", encoding="utf-8")
    >>> read_pairs(path).sources
    ('two', 'three')
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        parts = line.split("\t")
        if line and len(parts) != 2:
            raise FileError(f"{path}:{number}: expected a source, a tabulator and a target, got {line!r}")
        if line:
            pairs.append(parts)
    if not pairs:
        raise FileError(f"{path}: there is no pair in it")
    return Pairs([source for source, _ in pairs], [target for _, target in pairs])
