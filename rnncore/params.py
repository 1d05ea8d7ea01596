"""All numbers of a network: named arrays that are views of one flat vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from .backends import backend_of, device_of
from .cpu.memory import zeros
from .errors import InputError
from .rounding import EXACT, Rounding

__all__ = ["Params"]

_DTYPES = ("float32", "float64")
_PRODUCTS = {"exact": "", "tf32": "tf32", "bf16": "bf16"}
_FUNCTIONS = {"exact": "", "fast": "fast"}


class Params(Mapping):
    """A mapping from path to array; every array is a view of ``flat``.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Paths and shapes, in the order in which they lie in ``flat``.
    flat : ndarray or device array, (n,), float32 or float64
        The numbers; kept, not copied, when it is contiguous.

    Attributes
    ----------
    flat : ndarray, (n,), C-contiguous
        What an optimiser, ``scipy.optimize`` or a checkpoint uses. Writing to it writes to the arrays, and so does
        ``params.flat = vector``: the memory stays.
    dtype : numpy.dtype
    device : str
        ``"cpu"``, where `flat` is a NumPy array, or ``"cuda"``, where it is a CuPy array. It decides where calls with
        these parameters run (see `to`).
    rounding : Rounding
        What a GPU may round (see `to`).
    products, functions : str
        Its parts: ``""``, as little as can be.

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

    __slots__ = ("_shapes", "_views", "device", "flat", "rounding")
    __array_ufunc__ = None

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], flat: Any, rounding: Rounding = EXACT):
        self.device: str = "cpu" if type(flat) is np.ndarray else device_of(flat) or "cpu"
        if self.device == "cpu":
            flat = np.ascontiguousarray(flat)
        else:
            backend = backend_of(self.device)
            flat = backend.xp.ascontiguousarray(backend.taken(flat, "flat"))
        size = sum(prod(s) for s in shapes.values())
        if flat.dtype.name not in _DTYPES:
            raise InputError(f"parameters are float32 or float64, got {flat.dtype}")
        if flat.shape != (size,):
            raise InputError(f"parameters of this layout need a vector of {size} numbers, got shape {flat.shape}")
        self._shapes = {k: tuple(s) for k, s in shapes.items()}
        self.flat, self.rounding = flat, Rounding(*rounding)
        self._views: dict[str, np.ndarray] = {}
        at = 0
        for path, shape in self._shapes.items():
            n = prod(shape)
            self._views[path] = flat[at : at + n].reshape(shape)
            at += n

    @classmethod
    def zeros(cls, shapes: Mapping[str, tuple[int, ...]], dtype: Any = "float32", device: str = "cpu") -> Params:
        """Zeros of a layout."""
        make = zeros if device == "cpu" else backend_of(device).zeros
        return cls(shapes, make((sum(prod(s) for s in shapes.values()),), dtype))

    @property
    def dtype(self) -> np.dtype:
        return self.flat.dtype

    @property
    def products(self) -> str:
        return self.rounding.products

    @property
    def functions(self) -> str:
        return self.rounding.functions

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "flat" or not hasattr(self, "flat"):
            object.__setattr__(self, name, value)
        elif value is not self.flat:  # it is after ``params.flat -= step``
            value = self._here(value, "flat")
            if value.shape != self.flat.shape:
                want = f"a vector of {self.flat.size} numbers"
                raise InputError(f"parameters of this layout need {want}, got shape {value.shape}")
            self.flat[...] = value  # the arrays are views of this memory

    def __array__(self, *args, **kwargs):
        raise InputError("parameters are arrays of different shapes: params.flat is one vector of their numbers")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Paths and shapes in the order of ``flat``."""
        return dict(self._shapes)

    def __getitem__(self, path: str) -> Any:
        try:
            return self._views[path]
        except KeyError:
            raise KeyError(f"no parameter {path!r}; there are: {', '.join(self._views)}") from None

    def __setitem__(self, path: str, value: Any) -> None:
        """Write numbers into a view (shape kept)."""
        value = self._here(value, f"the value of {path!r}")
        if value.shape != self[path].shape:
            raise InputError(f"parameter {path!r} has shape {self[path].shape}, got an array of shape {value.shape}")
        self._views[path][...] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __eq__(self, other) -> bool:
        if not isinstance(other, Params) or self._shapes != other._shapes:
            return False
        return np.array_equal(self.to("cpu").flat, other.to("cpu").flat)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Params:
        """The same numbers in memory of their own."""
        return Params(self._shapes, self.flat.copy(), self.rounding)

    def with_flat(self, flat: Any) -> Params:
        """The same layout on the same device over another vector (kept, not copied, where it is there already)."""
        return Params(self._shapes, self._here(flat, "flat"), self.rounding)

    def astype(self, dtype: Any) -> Params:
        """A copy in another precision."""
        return Params(self._shapes, self.flat.astype(dtype), self.rounding)

    def to(self, device: str, *, products: str | None = None, functions: str | None = None) -> Params:
        """The parameters on a device, ``"cpu"`` or ``"cuda"``: a copy, or themselves where they are there already.

        Parameters
        ----------
        device : {"cpu", "cuda"}
        products : {"exact", "tf32", "bf16"}, optional
            How a GPU may round float32 operands of matrix products, at each step of a loop and over all of them: not at
            all, or for its tensor cores to tf32 (10 bits after the leading one) or bfloat16 (7 bits). Sums are of
            float32 numbers. None: as it is, exact at first.
        functions : {"exact", "fast"}, optional
            How a GPU computes exp, tanh, sigmoid and softplus of float32 numbers in a loop: within 4 units in the last
            place, or by instructions that approximate (PTX ISA, ``.approx``), forward and back. Fast ones are off by
            at most 2**-11 of the result (tanh), 2**-12 (sigmoid), 2**-22 + 2**-23 |x| of the result (exp) and 2**-21
            (softplus), which the error of x itself adds to. None: as it is, exact at first.

        Raises
        ------
        InputError
            The device is unknown or absent; the text says what is missing. Or it cannot round so.
        """
        kind = Rounding(
            _kind("products", products, _PRODUCTS, self.products),
            _kind("functions", functions, _FUNCTIONS, self.functions),
        )
        if device == "cpu" and products is not None and kind.products:
            raise InputError(f"products={products!r} is for a GPU's tensor cores, the device is {device!r}")
        if device == "cpu" and functions is not None and kind.functions:
            raise InputError(f"functions={functions!r} is for a GPU's approximations, the device is {device!r}")
        backend = backend_of(device, EXACT if device == "cpu" else kind)
        if device == self.device:
            return self if kind == self.rounding else Params(self._shapes, self.flat, kind)
        if self.device != "cpu":
            return Params(self._shapes, backend_of(self.device).get(self.flat))
        return Params(self._shapes, backend.put(self.flat), kind)

    def _here(self, value: Any, what: str) -> Any:
        """An array on the device of the parameters; what is on the host is copied there."""
        if type(value) is np.ndarray and self.device == "cpu":
            return value
        found = device_of(value)
        if found not in (None, self.device):
            raise InputError(f"{what} is on {found!r}, the parameters are on {self.device!r}: move one of them")
        if self.device == "cpu":
            return np.asarray(value)
        backend = backend_of(self.device)
        return backend.put(np.asarray(value)) if found is None else backend.taken(value, what)

    def __deepcopy__(self, memo) -> Params:
        return self.copy()

    def __reduce__(self):
        return Params, (self._shapes, self.to("cpu").flat)  # a pickle holds the host's numbers

    def __repr__(self) -> str:
        rows = [f"  {path:<24} {'x'.join(map(str, a.shape)) or 'scalar'}" for path, a in self._views.items()]
        where = "" if self.device == "cpu" else f", on {self.device}"
        where += "".join(f", {kind} {what}" for what, kind in self.rounding._asdict().items() if kind)
        return "\n".join([f"Params({self.flat.size} numbers, {self.dtype}{where})", *rows])


def _kind(name: str, given: str | None, kinds: Mapping[str, str], before: str) -> str:
    """What a word that rounding is asked for by stands for."""
    if given not in (None, *kinds):
        raise InputError(f"{name} must be one of {', '.join(map(repr, kinds))}, got {given!r}")
    return before if given is None else kinds[given]
