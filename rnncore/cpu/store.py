"""Kernel modules on disk under content hashes: written whole, verified before they are opened.

A kernel's folder holds its text, numba's cache of it, and a checksum of each file. It is made under
a temporary name and renamed, so other processes see all of it or nothing. A folder that does not
verify, or a cache that cannot be written, costs a compilation, never a wrong result.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import json
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["cache_folder", "exported", "load_module"]

_lock = threading.RLock()
_loaded: dict[str, ModuleType] = {}
_SOURCES = (
    "vectors.py", "laneops.py", "lanes.py", "vecmath.py", "tiles.py", "atomics.py", "lower.py", "expressions.py",
)  # fmt: skip
_STALE_SECONDS = 24 * 3600


def load_module(text: str) -> ModuleType:
    """The compiled module of a kernel's text: from memory, from disk, or compiled now."""
    key = _key(text)
    found = _loaded.get(key)
    if found is not None:
        return found
    with _lock:
        if key not in _loaded:
            _loaded[key] = _from_disk(key) or _compile(key, text)
        return _loaded[key]


def exported(module: ModuleType, many: int) -> list[int]:
    """The addresses that a module's C function ``functions(to)`` writes, `many` int64."""
    import ctypes

    found = (ctypes.c_int64 * many)()
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(module.functions.address)(ctypes.addressof(found))
    return list(found)


def cache_folder() -> Path:
    """Where kernels are kept: ``RNNCORE_CACHE_DIR``, else the user's cache folder."""
    asked = os.environ.get("RNNCORE_CACHE_DIR")
    if asked:
        return Path(asked)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "rnncore" / "kernels"


@lru_cache(maxsize=1)
def _environment() -> str:
    """Everything besides its text that a compiled kernel depends on."""
    import llvmlite
    import numba

    from .machine import host

    here = Path(__file__).parent
    sources = [hashlib.sha256((here / name).read_bytes()).hexdigest() for name in _SOURCES]
    return repr((numba.__version__, llvmlite.__version__, sys.version, host(), sources))


def _key(text: str) -> str:
    return hashlib.sha256((_environment() + text).encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _process_folder() -> Path:
    """A folder of this process alone, for when the cache cannot be used."""
    folder = Path(tempfile.mkdtemp(prefix="rnncore-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _usable_root() -> Path | None:
    """The cache folder if it can be written and nobody else can write to it."""
    root = cache_folder()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = root.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            return None
        with tempfile.TemporaryFile(dir=root):
            return root
    except OSError:
        return None


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SUMS" and p.suffix != ".pyc")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _verified(folder: Path) -> bool:
    try:
        kept = json.loads((folder / "SUMS").read_text())
        return len(kept) > 1 and kept == _sums(folder)
    except (OSError, ValueError):
        return False


def _private(folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _from_disk(key: str) -> ModuleType | None:
    folder = cache_folder() / key
    if not (folder.is_dir() and _private(folder) and _verified(folder)):
        return None
    if _usable_root() is None:  # numba wants to write beside what it reads
        copy = _process_folder() / key
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        folder = copy
    try:
        return _import(key, folder / "kernel.py")
    except Exception:  # a cache that cannot be opened is compiled anew
        sys.modules.pop(_name(key), None)
        return None


def _compile(key: str, text: str) -> ModuleType:
    root = _usable_root()
    parent = root or _process_folder()
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix="new-", dir=parent))
    path = folder / "kernel.py"
    path.write_text(text)
    module = _import(key, path)
    if root is not None:
        try:
            _publish(folder, root / key)
        except OSError:
            pass  # a full or vanished disk: the module is in memory
    return module


def _publish(folder: Path, final: Path) -> None:
    (folder / "SUMS").write_text(json.dumps(_sums(folder)))
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    if final.exists():
        if _verified(final):
            shutil.rmtree(folder, ignore_errors=True)
            return
        final.rename(final.with_name(f"new-bad-{os.getpid()}-{time.time_ns()}"))
    try:
        folder.rename(final)
    except OSError:  # another process was first
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove what killed processes left behind."""
    for path in root.glob("new-*"):
        try:
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue


def _name(key: str) -> str:
    return f"rnncore_kernel_{key}"


def _import(key: str, path: Path) -> ModuleType:
    from numba.core import config as numba_config

    config: Any = numba_config

    spec = importlib.util.spec_from_file_location(_name(key), path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_name(key)] = module
    elsewhere, config.CACHE_DIR = config.CACHE_DIR, ""  # the checksums cover the folder beside the text
    write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        config.CACHE_DIR = elsewhere
        sys.dont_write_bytecode = write
    return module
