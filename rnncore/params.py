"""All numbers of a network: named arrays that are views of one flat vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from .cpu.memory import zeros
from .errors import InputError

__all__ = ["Params"]

_DTYPES = ("float32", "float64")


class Params(Mapping):
    """A mapping from path to array; every array is a view of ``flat``.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Paths and shapes, in the order in which they lie in ``flat``.
    flat : ndarray, (n,), float32 or float64
        The numbers; kept, not copied, when it is contiguous.

    Attributes
    ----------
    flat : ndarray, (n,), C-contiguous
        What an optimiser, ``scipy.optimize`` or a checkpoint uses. Writing to it writes to the arrays.
    dtype : numpy.dtype

    Raises
    ------
    InputError
        `flat` has another size or dtype than the shapes need.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import Params
    >>> p = Params({"W": (2, 3), "b": (2,)}, np.zeros(8, "float32"))
    >>> p["b"][:] = 1
    >>> p.flat[-2:]
    array([1., 1.], dtype=float32)
    """

    __slots__ = ("_shapes", "_views", "flat")
    __array_ufunc__ = None

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], flat: np.ndarray):
        flat = np.ascontiguousarray(flat)
        size = sum(prod(s) for s in shapes.values())
        if flat.dtype.name not in _DTYPES:
            raise InputError(f"parameters are float32 or float64, got {flat.dtype}")
        if flat.shape != (size,):
            raise InputError(f"parameters of this layout need a vector of {size} numbers, got shape {flat.shape}")
        self._shapes = {k: tuple(s) for k, s in shapes.items()}
        self.flat = flat
        self._views: dict[str, np.ndarray] = {}
        at = 0
        for path, shape in self._shapes.items():
            n = prod(shape)
            self._views[path] = flat[at : at + n].reshape(shape)
            at += n

    @classmethod
    def zeros(cls, shapes: Mapping[str, tuple[int, ...]], dtype: Any = "float32") -> Params:
        """Zeros of a layout."""
        return cls(shapes, zeros((sum(prod(s) for s in shapes.values()),), dtype))

    @property
    def dtype(self) -> np.dtype:
        return self.flat.dtype

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Paths and shapes in the order of ``flat``."""
        return dict(self._shapes)

    def __getitem__(self, path: str) -> np.ndarray:
        try:
            return self._views[path]
        except KeyError:
            raise KeyError(f"no parameter {path!r}; there are: {', '.join(self._views)}") from None

    def __setitem__(self, path: str, value: Any) -> None:
        """Write numbers into a view (shape kept)."""
        value = np.asarray(value)
        if value.shape != self[path].shape:
            raise InputError(f"parameter {path!r} has shape {self[path].shape}, got an array of shape {value.shape}")
        self._views[path][...] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __eq__(self, other) -> bool:
        return isinstance(other, Params) and self._shapes == other._shapes and np.array_equal(self.flat, other.flat)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Params:
        """The same numbers in memory of their own."""
        return Params(self._shapes, self.flat.copy())

    def with_flat(self, flat: np.ndarray) -> Params:
        """The same layout over another vector (kept, not copied, where it is contiguous)."""
        return Params(self._shapes, np.asarray(flat))

    def astype(self, dtype: Any) -> Params:
        """A copy in another precision."""
        return Params(self._shapes, self.flat.astype(dtype))

    def to(self, device: str) -> Params:
        """The parameters on a device; ``"cpu"`` is the one there is.

        Raises
        ------
        InputError
            The device is unknown or absent.
        """
        if device != "cpu":
            raise InputError(f"device {device!r} is not available: this build runs on 'cpu'")
        return self

    def __reduce__(self):
        return Params, (self._shapes, self.flat)

    def __repr__(self) -> str:
        rows = [f"  {path:<24} {'x'.join(map(str, a.shape)) or 'scalar'}" for path, a in self._views.items()]
        return "\n".join([f"Params({self.flat.size} numbers, {self.dtype})", *rows])
