"""Sequences from files, and the data sets that are part of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import FileError
from .dates import date_pairs
from .embedded import japanese_vowels, sonnets, sunspots
from .longcsv import read_csv
from .npz import read_npz
from .pairs import Pairs, read_pairs
from .sequences import Sequences
from .ts import read_ts
from .vocabulary import Vocabulary

__all__ = [
    "Pairs", "Sequences", "Vocabulary", "date_pairs", "japanese_vowels", "read", "read_csv", "read_npz", "read_pairs",
    "read_ts", "sonnets", "sunspots",
]  # fmt: skip

_READERS = {".ts": read_ts, ".npz": read_npz, ".csv": read_csv}


def read(path: str | Path, **options: Any) -> Sequences:
    """Read a file by its ending: `.ts`, `.npz` or `.csv`.

    Parameters
    ----------
    path : str or path
    **options
        Those of `read_ts`, `read_npz` or `read_csv`.

    Raises
    ------
    FileError
        If the ending is another one, or the file is not of its format.

    Examples
    --------
    >>> import pathlib, tempfile, rnncore as rn
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "steps.csv"
    >>> _ = path.write_text("id,time,height,label\\na,0,1.5,up\\na,1,2.5,up\\nb,0,3.0,down\\n")
    >>> rn.data.read(path)
    Sequences(2 x (1 to 2 steps, 1 features), 2 classes, from steps.csv)
    """
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise FileError(f"{path}: expected a file ending in {', '.join(_READERS)}")
    return reader(path, **options)
