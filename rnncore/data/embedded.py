"""The data sets that are part of the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from .sequences import Sequences
from .ts import read_ts

__all__ = ["japanese_vowels", "sonnets", "sunspots"]


@contextmanager
def _file(name: str) -> Iterator[Path]:
    """A file of the package as one on disk, wherever the package is imported from."""
    with resources.as_file(resources.files(__package__).joinpath("files", name)) as path:
        yield path


def _sequences(name: str) -> Sequences:
    with _file(name) as path:
        return replace(read_ts(path), source=name)


def japanese_vowels() -> tuple[Sequences, Sequences]:
    """Utterances of nine speakers; the class is the speaker.

    270 sequences to train on and 370 to test on, 12 LPC cepstrum coefficients per frame, 7 to 29
    frames. M. Kudo, J. Toyama and M. Shimbo, "Multidimensional curve classification using
    passing-through regions", Pattern Recognition Letters 20 (1999), 1103-1111;
    UCI Machine Learning Repository, CC BY 4.0.

    Returns
    -------
    train, test : Sequences

    Examples
    --------
    >>> import rnncore as rn
    >>> train, test = rn.data.japanese_vowels()
    >>> len(train), len(test), train.classes
    (270, 370, ('1', '2', '3', '4', '5', '6', '7', '8', '9'))
    """
    return _sequences("JapaneseVowels_TRAIN.ts"), _sequences("JapaneseVowels_TEST.ts")


def sunspots() -> tuple[np.ndarray, np.ndarray]:
    """Yearly mean sunspot number, 1700 to 2008. SILSO and NOAA, public domain.

    Returns
    -------
    year : ndarray of int64, (309,)
    number : ndarray of float64, (309,)

    Examples
    --------
    >>> import rnncore as rn
    >>> year, number = rn.data.sunspots()
    >>> int(year[0]), float(number[0])
    (1700, 5.0)
    """
    with _file("sunspots.csv") as path:
        table = np.loadtxt(path, delimiter=",", skiprows=1)
    return table[:, 0].astype(np.int64), table[:, 1].copy()


def sonnets() -> str:
    """Thirty-nine of Shakespeare's sonnets, in order, a blank line between them.

    William Shakespeare, "Shake-speares Sonnets", London 1609, in modern spelling; public domain.
    Numbers 1-3, 5, 12, 15, 17-19, 23, 27, 29, 30, 33, 43, 54, 55, 57, 60, 64-66, 71, 73, 76, 87, 90, 94, 97, 98, 104,
    106, 107, 116, 129, 130, 138, 144 and 147.

    Returns
    -------
    str
        23,868 characters, 59 different.

    Examples
    --------
    >>> import rnncore as rn
    >>> rn.data.sonnets().splitlines()[0]
    'From fairest creatures we desire increase,'
    """
    with _file("sonnets.txt") as path:
        return path.read_text(encoding="utf-8")
