"""Files that are whole or not there: atomic writing, and safetensors with a checksum over all of it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import FileError

__all__ = ["write_atomically", "discard_leftovers", "write_arrays", "read_arrays"]


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` so that a reader, or a crash, finds the old file or the new one and nothing between.

    The bytes go to a temporary name in the same folder, reach the disk, and take the final name.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.
    data : bytes
        The whole content.

    Raises
    ------
    FileError
        If the folder does not exist or cannot be written to.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "note.txt")
    >>> write_atomically(path, b"whole")
    >>> path.read_bytes()
    b'whole'
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise FileError(f"cannot write {os.fspath(path)}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # only there can a folder be opened, and only there is it needed
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def discard_leftovers(path: str | os.PathLike) -> None:
    """Remove what writers of `path` that were killed half-way left behind; only its owner may call this."""
    target = Path(os.path.realpath(path))
    start = f".{target.name}."
    for name in os.listdir(target.parent) if target.parent.is_dir() else ():
        if name.startswith(start) and name.endswith(".tmp") and len(name) == len(start) + 12:
            (target.parent / name).unlink(missing_ok=True)


def write_arrays(path: str | os.PathLike, kind: str, arrays: Mapping, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file of `kind`: arrays by name, texts in the metadata, a checksum over both.

    Parameters
    ----------
    path : path-like
        The file, written atomically.
    kind : str
        What the file is, such as ``"model"``: the reader asks for it.
    arrays : mapping of str to ndarray
        Any shapes and numeric dtypes.
    metadata : mapping of str to str
        Texts, such as JSON.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(a).reshape(np.shape(a)) for name, a in arrays.items()}
    text = {"rnncore": kind, **metadata}
    write_atomically(path, save(arrays, {**text, "sha256": _checksum(arrays, text)}))


def read_arrays(path: str | os.PathLike, kind: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a file that `write_arrays` wrote; nothing in it is executed.

    Raises
    ------
    FileError
        If the file is missing, damaged, or not of this `kind`.
    """
    from safetensors import SafetensorError, safe_open

    where = os.fspath(path)
    if not os.path.isfile(path):
        what = "this is a folder" if os.path.isdir(path) else "there is no such file"
        raise FileError(f"{where}: {what}; expected a {kind} that rnncore wrote")
    try:
        with safe_open(where, framework="numpy") as file:
            text = dict(file.metadata() or {})
            found = text.get("rnncore")
            arrays = {name: file.get_tensor(name) for name in file.keys()} if found == kind else {}
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise FileError(f"{where}: not a readable safetensors file ({error}); expected a {kind}") from error
    if found != kind:
        known = f"a {found} of rnncore" if found else "a safetensors file that rnncore did not write"
        raise FileError(f"{where}: this is {known}; expected a {kind}")
    given = text.pop("sha256", None)
    if given != _checksum(arrays, text):
        raise FileError(f"{where}: the checksum does not match the content: this {kind} is damaged")
    text.pop("rnncore")
    return arrays, text


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()
