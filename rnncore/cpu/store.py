"""Kernels on disk under content hashes: written whole, verified before they are opened.

A kernel's folder holds its text, its object code, and a checksum of each file. It is made under
a temporary name and renamed, so other processes see all of it or nothing. A folder that does not
verify, or a cache that cannot be written, costs a compilation, never a wrong result.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

from .machine import host
from .native import compile_text, link

__all__ = ["cache_folder", "exported", "load_module"]

_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # a fork waits for what is being compiled: its compiler has locks of its own
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_loaded: dict[str, SimpleNamespace] = {}
_SYMBOLS = "symbols.json"
_SOURCES = (
    "vectors.py", "laneops.py", "lanes.py", "../vecmath.py", "tiles.py", "atomics.py", "lower.py", "expressions.py",
    "native.py",
)  # fmt: skip
_FLAGS = (
    "NUMBA_OPT", "NUMBA_LOOP_VECTORIZE", "NUMBA_SLP_VECTORIZE", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES",
    "NUMBA_ENABLE_AVX", "NUMBA_BOUNDSCHECK",
)  # fmt: skip
_STALE_SECONDS = 3600  # a folder is filled in milliseconds


def load_module(text: str) -> SimpleNamespace:
    """The C functions of a kernel's text, with their addresses: from memory, from disk, or compiled now."""
    key = _key(text)
    found = _loaded.get(key)
    if found is not None:
        return found
    with _lock:
        if key not in _loaded:
            _loaded[key] = _from_disk(key) or _compile(key, text)
        return _loaded[key]


def exported(module: SimpleNamespace, many: int) -> list[int]:
    """The addresses that a module's C function ``functions(to)`` writes, `many` int64."""
    import ctypes

    found = (ctypes.c_int64 * many)()
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(module.functions.address)(ctypes.addressof(found))
    return list(found)


def cache_folder() -> Path:
    """Where kernels are kept: ``RNNCORE_CACHE_DIR``, else the user's cache folder, else one for temporary files."""
    asked = os.environ.get("RNNCORE_CACHE_DIR")
    if asked:
        return Path(asked)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "rnncore" / "kernels"
    except RuntimeError:  # a user without a home, as in containers
        return Path(tempfile.gettempdir()) / f"rnncore-kernels-{os.getuid()}"


@lru_cache(maxsize=1)
def _environment() -> str:
    """Everything besides its text that a compiled kernel depends on."""
    import llvmlite.binding as llvm

    here = Path(__file__).parent
    sources = [_sum((here / name).read_bytes()) for name in _SOURCES]
    versions = [version(package) for package in ("numba", "llvmlite")]
    processor = (host(), llvm.get_process_triple(), llvm.get_host_cpu_features().flatten())
    return repr((versions, sys.version, processor, [os.environ.get(name) for name in _FLAGS], sources))


def _key(text: str) -> str:
    return hashlib.sha256((_environment() + text).encode()).hexdigest()[:32]


def _usable_root() -> Path | None:
    """The cache folder if it can be written and nobody else can write to it."""
    try:
        root = cache_folder()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = root.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            return None
        with tempfile.TemporaryFile(dir=root):
            return root
    except OSError:
        return None


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "SUMS"}


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _verified(folder: Path) -> dict[str, bytes] | None:
    """The files of a kernel, if they are what was written."""
    try:
        files, kept = _files(folder), json.loads((folder / "SUMS").read_text())
    except (OSError, ValueError):
        return None
    whole = _SYMBOLS in files and kept == {name: _sum(data) for name, data in files.items()}
    return files if whole else None


def _private(folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _from_disk(key: str) -> SimpleNamespace | None:
    try:
        folder = cache_folder() / key
        files = _verified(folder) if _private(folder) else None
    except OSError:
        return None
    if files is None:
        return None
    symbols = json.loads(files[_SYMBOLS])
    return link({name: files[f"{name}.o"] for name in symbols}, symbols)


def _compile(key: str, text: str) -> SimpleNamespace:
    objects, symbols = compile_text(f"rnncore_kernel_{key}", text)
    root = _usable_root()
    if root is not None:
        _sweep(root)
        _keep(root / key, text, objects, symbols)
    return link(objects, symbols)


def _keep(final: Path, text: str, objects: dict[str, bytes], symbols: dict[str, str]) -> None:
    """Write a kernel's folder, if that can be done: what was compiled is in memory."""
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="new-", dir=final.parent))
        _fill(folder, text, objects, symbols)
        _publish(folder, final)
    except OSError:  # a full disk, one that vanished, or another process was first
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path, text: str, objects: dict[str, bytes], symbols: dict[str, str]) -> None:
    files = {"kernel.py": text.encode(), _SYMBOLS: json.dumps(symbols).encode()}
    files |= {f"{name}.o": code for name, code in objects.items()}
    files["SUMS"] = json.dumps({name: _sum(data) for name, data in files.items()}).encode()
    for name, data in files.items():
        with open(folder / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _publish(folder: Path, final: Path) -> None:
    if final.exists():
        if _verified(final):
            shutil.rmtree(folder, ignore_errors=True)
            return
        final.rename(final.with_name(f"new-bad-{os.getpid()}-{time.time_ns()}"))
    folder.rename(final)


def _sweep(root: Path) -> None:
    """Remove what killed processes left behind, and what was damaged."""
    for path in root.glob("new-*"):
        try:
            if time.time() - path.stat().st_mtime < _STALE_SECONDS:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        except OSError:
            continue
