"""Initial parameters: what the equations say, else the role's initialiser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .errors import InputError, LanguageError
from .lang.component import Bound, Component
from .params import Params
from .registry import current

__all__ = ["initialize", "ROLES"]

ROLES = ("input", "recurrent", "diagonal", "vector", "scalar", "readout", "state")


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
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed must be an integer of at least 0, got {seed!r}")
    defaults = current().defaults("initializer")
    rows = list(parameters)
    params = Params.zeros({path: shape for path, shape, *_ in rows}, name)
    streams = np.random.SeedSequence(int(seed)).spawn(len(rows))
    for (path, shape, role, start, origin), stream in zip(rows, streams):
        how = start if start is not None else chosen.get(role, defaults.get(role, 0.0))
        try:
            params[path] = _values(how, shape, np.random.default_rng(stream), path)
        except InputError as error:
            if start is None or origin is None:
                raise
            raise LanguageError(str(error), *origin) from None
    return params


def _values(how: Any, shape: tuple[int, ...], rng: np.random.Generator, path: str) -> np.ndarray:
    if isinstance(how, (int, float)) and not isinstance(how, bool):
        return np.full(shape, float(how))
    if isinstance(how, str):
        how = current().get("initializer", how)
    if isinstance(how, Component) and how.kind == "initializer":
        how = how()
    if not isinstance(how, Bound) or how.component.kind != "initializer":
        raise InputError(f"the initialiser of {path!r} must be a number, a name or an initialiser, got {how!r}")
    values = np.asarray(how(shape, rng), dtype=np.float64)
    if values.shape != shape:
        raise InputError(f"initialiser {how.name!r} gave shape {values.shape} for {path!r}, expected {shape}")
    return values
