"""NumPy's ``.npz``: arrays ``x``, ``y``, ``lengths``; never a pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ..errors import FileError
from .numbers import class_names, codes, missing_choice, refuse_missing
from .sequences import Sequences

__all__ = ["read_npz"]


def read_npz(path: str | Path, *, missing: str = "keep") -> Sequences:
    """Read sequences from an ``.npz`` file.

    Parameters
    ----------
    path : str or path
        ``x``: (N, T, features), with ``lengths`` (N,) where rows are padded; or (steps, features),
        sequences end to end, with ``lengths``. ``y``, optional: (N,) integers or texts for
        classes, (N,) or (N, outputs) floats for values; one a step in the form of ``x``: (N, T)
        integers or (N, T, outputs) floats, or (steps,), (steps, outputs). ``classes``, optional: names of
        the integers from 0. ``features``, optional: names.
    missing : {"keep", "error"}
        What becomes of NaN.

    Returns
    -------
    Sequences

    Raises
    ------
    FileError
        If it is no such file, an array is lacking or of a wrong shape, or holds Python objects.
    """
    missing_choice(missing)
    arrays = _load(path)
    x, ends, padded = _series(arrays, path)
    for i, series in enumerate(x):
        refuse_missing(series, missing, f"{path}: sequence {i}")
    y, classes = _targets(arrays, ends, padded, path)
    count = x[0].shape[1] if x else arrays["x"].shape[-1]
    names = tuple(map(str, arrays["features"])) if "features" in arrays else _numbered(count)
    if len(names) != count:
        raise FileError(f"{path}: features: expected {count} names, got {len(names)}")
    return Sequences(x, y, classes, names, tuple(map(str, range(len(x)))), Path(path).name)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"feature {k}" for k in range(count))


def _load(path) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise FileError(f"{path}: a single array; expected an .npz file with x and y")
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise FileError(f"{path}: no .npz file of plain arrays: {error}") from error
    if "x" not in arrays:
        raise FileError(f"{path}: no array x; it holds: {', '.join(arrays) or 'nothing'}")
    return arrays


def _series(arrays: dict[str, np.ndarray], path) -> tuple[list[np.ndarray], np.ndarray, bool]:
    """The sequences, the length of each, and whether they came padded."""
    x, lengths = arrays["x"], arrays.get("lengths")
    if x.dtype.kind not in "iufb" or x.ndim not in (2, 3):
        raise FileError(
            f"{path}: x: expected numbers, (N, T, features), or (steps, features) with lengths; "
            f"got {x.dtype} of shape {x.shape}"
        )
    if lengths is not None and (lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any()):
        raise FileError(f"{path}: lengths: expected (N,) integers from 0, got {lengths!r}")
    x = x.astype(np.float64)
    if x.ndim == 3:
        counts = np.full(len(x), x.shape[1]) if lengths is None else lengths.astype(np.int64)
        if len(counts) != len(x) or counts.max(initial=0) > x.shape[1]:
            raise FileError(f"{path}: lengths: expected {len(x)} integers up to {x.shape[1]}")
        return [row[:n] for row, n in zip(x, counts, strict=True)], counts, True
    if lengths is None or lengths.sum() != len(x):
        got = "none" if lengths is None else int(lengths.sum())
        raise FileError(f"{path}: x of shape {x.shape} needs lengths that add up to {len(x)}, got {got}")
    return _cut(x, lengths), lengths.astype(np.int64), False


def _cut(rows: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, np.cumsum(lengths)[:-1]) if len(lengths) else []


def _targets(arrays: dict[str, np.ndarray], lengths: np.ndarray, padded: bool, path):
    y = arrays.get("y")
    if y is None:
        return None, None
    if y.dtype.kind not in "iufbU" or y.ndim == 0:
        raise FileError(f"{path}: y: expected classes or values, got {y.dtype} of shape {y.shape}")
    per_class = y.dtype.kind in "iubU"
    per_step = _per_step(y, arrays["x"], lengths, padded, per_class, path)
    parts = None
    if per_step:
        parts = [row[:n] for row, n in zip(y, lengths, strict=True)] if padded else _cut(y, lengths)
    if not per_class:
        if parts is not None:
            return [_columns(p) for p in parts], None
        return _columns(y), None
    coded, classes = _coded(np.concatenate(parts) if parts else y, arrays.get("classes"), path)
    return (coded if parts is None else _cut(coded, lengths)), classes


def _columns(values: np.ndarray) -> np.ndarray:
    return (values[:, None] if values.ndim == 1 else values).astype(np.float64)


def _per_step(y, x, lengths, padded: bool, per_class: bool, path) -> bool:
    """Whether targets are one a step, from shapes: the rule stands in `read_npz`."""
    axes = 1 if per_class else 2
    if padded:
        if y.shape[:2] == x.shape[:2] and y.ndim == axes + 1:
            return True
    elif len(y) == len(x) and y.ndim <= axes and len(x) != len(lengths):
        return True
    if len(y) == len(lengths) and y.ndim <= axes:
        return False
    raise FileError(f"{path}: y of shape {y.shape} fits neither {len(lengths)} sequences nor their steps")


def _coded(labels: np.ndarray, names: np.ndarray | None, path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Integers into the classes, and the names of these."""
    if names is None:
        classes = class_names(map(str, labels))
        return codes([str(label) for label in labels], classes), classes
    classes = tuple(map(str, names))
    if labels.dtype.kind == "U":
        fits = set(map(str, labels)) <= set(classes)
    else:
        fits = not len(labels) or (labels.min() >= 0 and labels.max() < len(classes))
    if not fits:
        raise FileError(f"{path}: y has a class that is none of classes: {', '.join(classes)}")
    if labels.dtype.kind == "U":
        return codes(list(map(str, labels)), classes), classes
    return labels.astype(np.int64), classes
