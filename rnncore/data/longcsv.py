"""``.csv`` in long form: one row a step, with the name of its sequence, its time, features, and a label."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FileError, InputError
from .numbers import as_floats, class_names, codes, missing_choice, refuse_missing
from .sequences import Sequences

__all__ = ["read_csv"]

_IDS = ("id", "series", "series_id", "sequence", "case")
_TIMES = ("time", "t", "step")
_TARGETS = ("label", "class", "target", "y")


@dataclass(frozen=True)
class _Columns:
    """Places of the columns in a row."""

    id: int
    time: int | None
    targets: tuple[int, ...]
    features: tuple[int, ...]


def read_csv(
    path: str | Path,
    *,
    id: str | None = None,
    time: str | None = None,
    target: str | list[str] | None = None,
    features: list[str] | None = None,
    values: bool | None = None,
    missing: str = "keep",
    delimiter: str = ",",
) -> Sequences:
    """Read a table in long form: one row a step, the first row with names.

    Parameters
    ----------
    path : str or path
    id : str, optional
        Column naming the sequence of a row; by default the one called id, series, series_id, sequence
        or case. Rows of a sequence need not stand together.
    time : str, optional
        Column that orders the steps of a sequence, numbers or ISO dates; by default the one
        called time, t or step; without one, the order of the rows.
    target : str or list of str, optional
        Column of the target, or several columns of values; by default the one called label, class,
        target or y. If it changes within a sequence, there is one target a step.
    features : list of str, optional
        By default all other columns.
    values : bool, optional
        Whether targets are numbers to be predicted, not classes. By default they are where every one is
        a number and not all are whole, or there are several columns.
    missing : {"keep", "error"}
        What becomes of an empty feature, ``?`` or ``nan``: NaN, or an error.
    delimiter : str

    Returns
    -------
    Sequences
        In the order in which they begin in the file.

    Raises
    ------
    FileError
        If a column is lacking, a row is of another length or holds no number, or two rows of a sequence
        have one time; names the line.
    """
    missing_choice(missing)
    names, rows = _rows(path, delimiter)
    columns = _columns(names, path, id, time, target, features)
    groups: dict[str, list[tuple[int, list[str]]]] = {}
    for line, row in rows:
        groups.setdefault(row[columns.id].strip(), []).append((line, row))
    if columns.time is not None:
        groups = {name: _ordered(group, columns.time, path) for name, group in groups.items()}
    x = [_features(group, columns, path, missing) for group in groups.values()]
    y, classes = _targets(list(groups.values()), columns, path, values)
    chosen = tuple(names[k] for k in columns.features)
    return Sequences(x, y, classes, chosen, tuple(groups), Path(path).name)


def _rows(path, delimiter: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            names = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path}: no text table: {error}") from error
    if not rows:
        raise FileError(f"{path}: expected a row of names and at least one step")
    if len(set(names)) != len(names):
        raise FileError(f"{path}:1: two columns have one name: {', '.join(names)}")
    for line, row in rows:
        if len(row) != len(names):
            raise FileError(f"{path}:{line}: expected {len(names)} fields as in the header, got {len(row)}")
    return names, rows


def _columns(names: list[str], path, id, time, target, features) -> _Columns:
    def place(name: str) -> int:
        if name not in names:
            raise FileError(f"{path}:1: no column {name!r}; the columns are: {', '.join(names)}")
        return names.index(name)

    def usual(choices: tuple[str, ...]) -> int | None:
        lower = [name.lower() for name in names]
        return next((lower.index(c) for c in choices if c in lower), None)

    series = usual(_IDS) if id is None else place(id)
    if series is None:
        raise FileError(
            f"{path}:1: no column names the sequence of a row: expected one called {', '.join(_IDS)}, or "
            f"say which; the columns are: {', '.join(names)}"
        )
    order = usual(_TIMES) if time is None else place(time)
    if target is None:
        found = usual(_TARGETS)
        targets: tuple[int, ...] = () if found is None else (found,)
    else:
        targets = tuple(map(place, [target] if isinstance(target, str) else target))
    taken = {series, order, *targets}
    rest = [k for k in range(len(names)) if k not in taken]
    chosen = rest if features is None else list(map(place, features))
    if not chosen:
        raise FileError(f"{path}:1: no column is left for the features: {', '.join(names)}")
    if set(chosen) & taken:
        raise InputError("a feature is also the id, the time or the target")
    return _Columns(series, order, targets, tuple(chosen))


def _ordered(group, column: int, path) -> list[tuple[int, list[str]]]:
    keys = [_moment(row[column].strip(), f"{path}:{line}") for line, row in group]
    if len({isinstance(k, float) for k in keys}) > 1:
        raise FileError(f"{path}:{group[0][0]}: the times of a sequence are numbers and dates")
    order = sorted(range(len(group)), key=keys.__getitem__)
    for a, b in zip(order, order[1:], strict=False):
        if keys[a] == keys[b]:
            raise FileError(f"{path}:{group[b][0]}: the same time as in line {group[a][0]} of the sequence")
    return [group[k] for k in order]


def _moment(text: str, where: str):
    try:
        number = float(text)
    except ValueError:
        try:
            return np.datetime64(text)
        except ValueError:
            raise FileError(f"{where}: expected a time, a number or an ISO date, got {text!r}") from None
    if not np.isfinite(number):
        raise FileError(f"{where}: expected a time, got {text!r}")
    return number


def _features(group, columns: _Columns, path, missing: str) -> np.ndarray:
    steps = []
    for line, row in group:
        steps.append(as_floats([row[k] for k in columns.features], f"{path}:{line}"))
        refuse_missing(steps[-1], missing, f"{path}:{line}")
    return np.stack(steps)


def _targets(groups, columns: _Columns, path, values: bool | None):
    """Targets and classes, as `Sequences` has them."""
    if not columns.targets:
        return None, None
    places = [f"{path}:{line}" for group in groups for line, _ in group]
    labels = [[row[k].strip() for k in columns.targets] for group in groups for _, row in group]
    for where, texts in zip(places, labels, strict=True):
        if not {"", "?", "nan"}.isdisjoint(map(str.lower, texts)):
            raise FileError(f"{where}: the target is missing")
    if values is None:
        values = len(columns.targets) > 1 or _fractional(labels)
    if not values and len(columns.targets) > 1:
        raise InputError("several columns of targets are values; classes stand in one")
    if values:
        classes = None
        steps = np.stack([as_floats(texts, where) for texts, where in zip(labels, places, strict=True)])
    else:
        classes = class_names(texts[0] for texts in labels)
        steps = codes([texts[0] for texts in labels], classes)
    parts = np.split(steps, np.cumsum([len(group) for group in groups])[:-1])
    per_step = any((part != part[0]).any() for part in parts)
    return (parts if per_step else np.stack([part[0] for part in parts])), classes


def _fractional(labels: list[list[str]]) -> bool:
    """Whether all are numbers and not all are whole."""
    try:
        numbers = np.array(labels, dtype=np.float64)
    except ValueError:
        return False
    return bool((numbers != np.round(numbers)).any())
