"""What a caller gives, checked and laid out for the loops before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .backends import Backend, backend_of, device_of, indexed, namespace
from .batch import Batch, Tokens, Writing, is_tokens
from .errors import InputError

__all__ = [
    "Tokens", "Batch", "Writing", "as_array", "as_batch", "as_checkpoint", "as_host", "as_lengths", "as_numbers",
    "as_state", "by_name", "hosted", "listed",
]  # fmt: skip


def as_batch(net, dtype, x, lengths, backend: Backend | None = None) -> Batch:
    """Check `x` and `lengths` against the network and lay them out, where `backend` has its numbers; None: the host.

    Raises
    ------
    InputError
        Wrong shapes, types or lengths; unknown or missing inputs; tokens out of range.
    """
    given = {name: listed(value) for name, value in by_name(net, x).items()}
    if all(isinstance(v, (list, tuple)) and _is_sequences(v) for v in given.values()):
        batch = _from_lists(net, dtype, given, lengths, backend)
    else:
        batch = _from_arrays(net, dtype, given, lengths, backend)
    batch.backend = backend
    batch.single = not isinstance(x, Mapping)
    if isinstance(net.inputs, Tokens) and is_tokens(net, "x"):
        _check_tokens(batch, net.inputs.size)
    return batch


def as_checkpoint(value) -> int | str | None:
    """Steps between the states that a tape keeps.

    Raises
    ------
    InputError
        `value` is neither None nor ``"sqrt"`` nor an integer of at least 1.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 1
    if value is None or whole or (isinstance(value, str) and value == "sqrt"):
        return value
    raise InputError(f"checkpoint must be None, 'sqrt' or a number of steps of at least 1, got {value!r}")


def by_name(net, x) -> dict[str, Any]:
    """What is given for each input of the network.

    Raises
    ------
    InputError
        An input is unknown or missing, or several are needed and no mapping is given.
    """
    if x is None:
        raise InputError(f"x is missing; this network reads {', '.join(net.sizes)}")
    if isinstance(x, Mapping):
        given = dict(x)
    elif len(net.sizes) > 1:
        raise InputError(f"this network reads several inputs; give a mapping with the keys {', '.join(net.sizes)}")
    else:
        given = {next(iter(net.sizes)): x}
    for name in net.sizes:
        if name not in given:
            raise InputError(f"input {name!r} is missing; this network reads {', '.join(net.sizes)}")
    unknown = [n for n in given if n not in net.sizes]
    if unknown:
        raise InputError(f"input {unknown[0]!r} is unknown; this network reads {', '.join(net.sizes)}")
    return {n: given[n] for n in net.sizes}


def listed(value) -> Any:
    """A vector of objects, as pandas and scikit-learn hold sequences of different lengths, as a list; else `value`."""
    boxed = type(value) is np.ndarray and value.dtype.kind == "O" and value.ndim == 1
    return list(value) if boxed else value


def _is_sequences(value) -> bool:
    """A list of per-sequence arrays, as opposed to nested lists of one array."""
    return len(value) == 0 or all(isinstance(v, np.ndarray) or hasattr(v, "__array__") for v in value)


def as_array(value, what: str, hint: str = "", backend: Backend | None = None) -> Any:
    """`value` as an array of a backend; None is the host.

    Raises
    ------
    InputError
        It is a list of lists of different lengths, has masked elements, or lies on another device.
    """
    if type(value) is np.ndarray and backend is None:
        return value
    if type(value) is not np.ndarray:
        if np.ma.is_masked(value):
            raise InputError(f"{what} has masked elements, which have no value: fill them, or leave steps out by mask=")
        device = device_of(value)
        if backend is not None:
            value = backend.taken(value, what)
        elif device is not None:
            raise InputError(
                f"{what} is on {device} ({type(value).__module__}.{type(value).__name__}), the parameters are on the "
                f"CPU: move them with params.to({device!r}), or give a NumPy array"
            )
    if backend is not None and isinstance(value, backend.array_type):
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{what} is a ragged nested list{hint}") from None
    except (BufferError, RuntimeError, TypeError) as error:  # a tensor of another library that does not hand itself out
        raise InputError(f"{what} cannot be read as an array: {error}") from None
    return backend.put(array) if backend is not None and array.dtype.kind in "fiubc" else array


def as_host(value, what: str) -> np.ndarray:
    """`value` as a NumPy array wherever it lies: what says which steps count is read on the host."""
    device = None if type(value) is np.ndarray else device_of(value)
    if device is None:
        return as_array(value, what)
    backend = backend_of(device)
    return backend.get(backend.taken(value, what))


def hosted(value: Any) -> Any:
    """Device arrays as NumPy arrays, in mappings and lists too; anything else as it is."""
    if isinstance(value, Mapping):
        return {name: hosted(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [hosted(part) for part in value] if _is_sequences(value) else value
    return value if device_of(value) is None else as_host(value, "an array")


def as_numbers(value, what: str, tokens: bool, complex_too: bool = False, backend: Backend | None = None) -> Any:
    """`value` as an array of numbers, of integers if `tokens` (see `as_array`).

    Raises
    ------
    InputError
        It is anything else.
    """
    each = "(time,)" if tokens else "(time, features)"
    array = as_array(value, what, f"; give a list of arrays, one {each} array per sequence", backend)
    if tokens:
        if array.dtype.kind not in "iu" and array.size:
            raise InputError(f"{what} must be integer tokens, got dtype {array.dtype}")
        return array
    if array.dtype.kind not in "fiub":
        if array.dtype.kind == "c" and complex_too:
            return array
        raise InputError(f"{what} must be numbers, got dtype {array.dtype}")
    return array


def _rows(array, dtype, tokens: bool, xp) -> Any:
    """As a C-contiguous 2-D array of the computing dtype; no copy where it already is."""
    wanted = np.int64 if tokens else (dtype or (array.dtype if array.dtype.kind == "c" else np.float64))
    with np.errstate(over="ignore"):  # what is too large for the dtype is infinite in it
        return xp.ascontiguousarray(array, dtype=wanted)


def _from_arrays(net, dtype, given, lengths, backend: Backend | None) -> Batch:
    arrays: dict[str, np.ndarray] = {}
    xp = namespace(backend)
    shape: tuple[int, ...] = ()
    for name, value in given.items():
        tokens = is_tokens(net, name)
        array = as_numbers(value, f"input {name!r}", tokens, dtype is None, backend)
        features = net.sizes[name]
        want = "(batch, time)" if tokens else f"(batch, time, {features})"
        if array.ndim != (2 if tokens else 3) or (not tokens and array.shape[2] != features):
            alone = (1 if tokens else 2, () if tokens else (features,)) == (array.ndim, array.shape[1:])
            hint = f"; a single sequence is a batch of one, {name}[None]" if alone else ""
            raise InputError(f"input {name!r} must have shape {want}, got {array.shape}{hint}")
        if shape and array.shape[:2] != shape:
            raise InputError(f"input {name!r} has (batch, time) = {array.shape[:2]}, another input has {shape}")
        shape = array.shape[:2]
        arrays[name] = _rows(array, dtype, tokens, xp).reshape(shape[0] * shape[1], 1 if tokens else features)
    batch, time = shape
    full = lengths is None
    lengths = np.full(batch, time, np.int64) if full else as_lengths(lengths, batch, time)
    return Batch(arrays, np.arange(batch, dtype=np.int64) * time, lengths, time, "padded", full, backend=backend)


def as_lengths(lengths, batch: int, time: int, what: str = "lengths", of: str = "x") -> np.ndarray:
    """Numbers of steps, checked.

    Raises
    ------
    InputError
        They are no integers in 0..time, one per sequence.
    """
    array = as_host(lengths, what)
    if array.shape != (batch,) or (array.dtype.kind not in "iu" and array.size):
        got = f"{array.dtype} of shape {array.shape}"
        raise InputError(f"{what} must be {batch} integers, one per sequence, got {got}")
    bad = np.flatnonzero((array < 0) | (array > time))
    if bad.size:
        got = f"{array[bad[0]]} at sequence {bad[0]}"
        raise InputError(f"{what} must lie in 0..{time} (the time axis of {of}), got {got}")
    return array.astype(np.int64)


def _from_lists(net, dtype, given, lengths, backend: Backend | None) -> Batch:
    arrays, counts, xp = {}, None, namespace(backend)
    for name, values in given.items():
        tokens = is_tokens(net, name)
        features = net.sizes[name]
        parts = []
        for k, value in enumerate(values):
            part = as_numbers(value, f"sequence {k} of input {name!r}", tokens, dtype is None, backend)
            want = "(time,)" if tokens else f"(time, {features})"
            if part.ndim != (1 if tokens else 2) or (not tokens and part.shape[1] != features):
                raise InputError(f"sequence {k} of input {name!r} must have shape {want}, got {part.shape}")
            parts.append(part.reshape(len(part), 1 if tokens else features))
        here = np.array([len(p) for p in parts], np.int64)
        if counts is not None and not np.array_equal(here, counts):
            raise InputError(f"the sequences of input {name!r} differ in length from those of another input")
        counts = here
        joined = xp.concatenate(parts) if parts else xp.zeros((0, 1 if tokens else features))
        arrays[name] = _rows(joined, dtype, tokens, xp)
    assert counts is not None
    time = int(counts.max(initial=0))
    if lengths is not None:
        given_lengths = as_lengths(lengths, len(counts), time)
        over = np.flatnonzero(given_lengths > counts)
        if over.size:
            k = over[0]
            raise InputError(f"length {given_lengths[k]} of sequence {k} exceeds its {counts[k]} steps")
    base = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64) if len(counts) else counts
    chosen = counts if lengths is None else given_lengths
    return Batch(arrays, base, chosen, time, "list", False, counts=counts, backend=backend)


def _check_tokens(batch: Batch, size: int) -> None:
    tokens = batch.arrays["x"][:, 0]
    if batch.full or batch.form == "list" and len(tokens) == batch.lengths.sum():
        read = tokens
    else:
        read = tokens[indexed(tokens, batch.index)]
    if read.size and (read.min() < 0 or read.max() >= size):
        bad = int(read[(read < 0) | (read >= size)][0])
        raise InputError(f"tokens must lie in 0..{size - 1}, got {bad}")


def as_state(net, size: int, state, backend: Backend | None = None) -> dict[str, np.ndarray] | None:
    """Given states of `size` sequences, checked, where `backend` has its numbers; None where none is given."""
    if state is None:
        return None
    if not isinstance(state, Mapping):
        raise InputError(f"state must be a mapping from state name to array, got {type(state).__name__}")
    unknown = [k for k in state if k not in net.state_shapes]
    if unknown:
        raise InputError(f"state {unknown[0]!r} is unknown; this network has {', '.join(net.state_shapes)}")
    checked = {}
    for path, value in state.items():
        array = as_numbers(value, f"state {path!r}", False, backend=backend)
        want = (size, *net.state_shapes[path])
        if array.shape != want:
            raise InputError(f"state {path!r} must have shape {want}, got {array.shape}")
        checked[path] = array
    return checked
