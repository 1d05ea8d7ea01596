"""Initial parameters: what the equations say, else the role's initialiser."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .arguments import whole
from .errors import InputError, LanguageError
from .lang.component import Bound, Component
from .params import Params
from .registry import current

__all__ = ["initialize", "ROLES"]

ROLES = ("input", "recurrent", "diagonal", "bias", "vector", "scalar", "readout", "state")


def initialize(parameters: Iterable[tuple], seed: int, dtype: Any, chosen: Mapping[str, Any]) -> Params:
    """Parameters from (path, shape, role, start, author's line) rows.

    Raises
    ------
    InputError
        Unknown role or initialiser, impossible dtype or seed.
    """
    for role in chosen:
        if role not in ROLES:
            raise InputError(f"{role!r} is no role of parameters; roles are {', '.join(ROLES)}")
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in ("float32", "float64"):
        raise InputError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    if whole(seed, 0) is None:
        raise InputError(f"seed must be an integer of at least 0, got {seed!r}")
    defaults = current().defaults("initializer")
    rows = list(parameters)
    params = Params.zeros({path: shape for path, shape, *_ in rows}, name)
    streams = np.random.SeedSequence(int(seed)).spawn(len(rows))
    for (path, shape, role, start, origin), stream in zip(rows, streams):
        given = 0.0 if _joint(chosen.get(role)) else chosen.get(role, defaults.get(role, 0.0))
        how = start if start is not None else given
        try:
            params[path] = _values(how, shape, np.random.default_rng(stream), path)
        except InputError as error:
            if start is None or origin is None:
                raise
            raise LanguageError(str(error), *origin) from None
    for role, given in chosen.items():
        if _joint(given):
            _set_together(
                _chosen(given), [(row, stream) for row, stream in zip(rows, streams) if row[2] == role], params
            )
    return params


def _chosen(how: Any) -> Any:
    """An initialiser with its options, from a name or an initialiser; anything else as it is."""
    if isinstance(how, str):
        how = current().get("initializer", how)
    return how() if isinstance(how, Component) and how.kind == "initializer" else how


def _joint(how: Any) -> bool:
    """Whether an initialiser sets several arrays of a layer together: its first argument is ``shapes``."""
    how = _chosen(how)
    return isinstance(how, Bound) and next(iter(inspect.signature(how.component.fn).parameters), "") == "shapes"


def _set_together(how: Bound, rows: Sequence[tuple], params: Params) -> None:
    """Set arrays of one role, layer by layer; what the initialiser does not name stays.

    Raises
    ------
    InputError
        It names an array that is not there, gives a wrong shape, or finds nothing to set in the whole network.
    """
    layers: dict[str, list[tuple]] = {}
    for row in rows:
        layers.setdefault(row[0][0].rpartition(".")[0], []).append(row)
    found = False
    for layer, members in layers.items():
        shapes = {path.rpartition(".")[2]: shape for (path, shape, *_), _ in members}
        for name, values in _called(how, shapes, np.random.default_rng(members[0][1])).items():
            path = f"{layer}.{name}" if layer else name
            if name not in shapes or np.shape(values) != shapes[name]:
                raise InputError(
                    f"initialiser {how.name!r} gave shape {np.shape(values)} for {path!r}, there are {shapes}"
                )
            params[path], found = values, True
    if not found:
        names = ", ".join(path for (path, *_), _ in rows) or "none"
        raise InputError(f"{how!r} sets nothing in this network; of this role it has: {names}")


def _called(how: Bound, *given: Any) -> Any:
    try:
        return how(*given)
    except (TypeError, ValueError) as error:
        raise InputError(f"initialiser {how.name!r}: {error}") from error


def _values(how: Any, shape: tuple[int, ...], rng: np.random.Generator, path: str) -> np.ndarray:
    if isinstance(how, (int, float)) and not isinstance(how, bool):
        return np.full(shape, float(how))
    how = _chosen(how)
    if not isinstance(how, Bound) or how.component.kind != "initializer":
        raise InputError(f"the initialiser of {path!r} must be a number, a name or an initialiser, got {how!r}")
    given = _called(how, shape, rng)
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"initialiser {how.name!r} gave no array of numbers for {path!r}: {error}") from error
    if values.shape != shape:
        raise InputError(f"initialiser {how.name!r} gave shape {values.shape} for {path!r}, expected {shape}")
    return values
