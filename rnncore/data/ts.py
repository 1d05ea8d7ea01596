"""The ``.ts`` format of aeon and sktime: a header, then one case a line, channels split by ``:``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import FileError
from .numbers import as_float, as_floats, class_names, codes, missing_choice, refuse_missing
from .sequences import Sequences

__all__ = ["read_ts"]


@dataclass
class _Header:
    """What the ``@`` lines say; keys are lower case."""

    tags: dict[str, list[str]] = field(default_factory=dict)

    def flag(self, name: str) -> bool:
        return self.tags.get(name, ["false"])[:1] == ["true"]

    def number(self, name: str) -> int | None:
        words = self.tags.get(name, [])
        return int(words[0]) if words and words[0].isdigit() else None

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.tags.get("classlabel", [])[1:])


def read_ts(path: str | Path, *, missing: str = "keep") -> Sequences:
    """Read a ``.ts`` file: univariate or multivariate, of equal or unequal length.

    Parameters
    ----------
    path : str or path
    missing : {"keep", "error"}
        What becomes of ``?``: NaN, or an error.

    Returns
    -------
    Sequences
        With ``@classLabel true`` targets are classes, with ``@targetLabel true`` one value each.

    Raises
    ------
    FileError
        If the file is not of this format, has time stamps, or contradicts its header; names the line.
    """
    missing_choice(missing)
    try:
        with open(path, encoding="utf-8-sig") as lines:
            header, first = _header(lines, path)
            cases = [
                (_case(text, header, f"{path}:{n}", missing), f"{path}:{n}")
                for n, text in enumerate(lines, first)
                if text.strip() and not text.startswith("#")
            ]
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: no text file: {error}") from error
    if not cases:
        raise FileError(f"{path}: no case follows @data")
    x = [series for (series, _), _ in cases]
    for series, (_, where) in zip(x, cases, strict=True):
        if series.shape[1] != x[0].shape[1]:
            raise FileError(f"{where}: expected {x[0].shape[1]} channels as before, got {series.shape[1]}")
    y, classes = _targets([(label, where) for (_, label), where in cases], header)
    names = tuple(f"channel {k}" for k in range(x[0].shape[1]))
    return Sequences(x, y, classes, names, tuple(map(str, range(len(x)))), Path(path).name)


def _header(lines, path) -> tuple[_Header, int]:
    header = _Header()
    for n, text in enumerate(lines, 1):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        if not words[0].startswith("@"):
            raise FileError(f"{path}:{n}: expected a line of the header, or @data before the first case")
        if words[0].lower() == "@data":
            if header.flag("timestamps"):
                raise FileError(f"{path}: @timeStamps true is not read: give values alone, or a long .csv")
            return header, n + 1
        header.tags[words[0][1:].lower()] = [words[1].lower(), *words[2:]] if words[1:] else []
    raise FileError(f"{path}: no line @data: is this a .ts file?")


def _case(text: str, header: _Header, where: str, missing: str) -> tuple[np.ndarray, str | None]:
    """One case: the series (T, channels), and its label where there is one."""
    parts = text.strip().split(":")
    labelled = header.flag("classlabel") or header.flag("targetlabel")
    label = parts.pop().strip() if labelled else None
    expected = header.number("dimensions") or (1 if header.flag("univariate") else None)
    if not parts or (expected is not None and len(parts) != expected):
        also = " and a label" if labelled else ""
        raise FileError(f"{where}: expected {expected or 'some'} channels{also}, got {len(parts)}")
    channels = [as_floats(part.split(","), where) for part in parts]
    for k, channel in enumerate(channels):
        if len(channel) != len(channels[0]):
            raise FileError(f"{where}: channel {k} has {len(channel)} steps, channel 0 {len(channels[0])}")
    length = header.number("serieslength")
    if header.flag("equallength") and length is not None and len(channels[0]) != length:
        raise FileError(f"{where}: expected {length} steps as the header says, got {len(channels[0])}")
    series = np.stack(channels, 1)
    refuse_missing(series, missing, where)
    return series, label


def _targets(labels: list[tuple[str | None, str]], header: _Header):
    if header.flag("targetlabel"):
        return np.array([[as_float(label or "", where)] for label, where in labels]), None
    if not header.flag("classlabel"):
        return None, None
    texts = [label or "" for label, _ in labels]
    classes = header.classes or class_names(texts)
    for label, where in labels:
        if label not in classes:
            raise FileError(f"{where}: the class {label!r} is not in the header's: {' '.join(classes)}")
    return codes(texts, classes), classes
