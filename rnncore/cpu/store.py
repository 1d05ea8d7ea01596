"""Kernels by their texts: from memory, from disk, or compiled now.

A kernel's folder (`rnncore.folders`) holds its text and its object code, under a hash of all that it depends on.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from functools import lru_cache
from importlib.metadata import version
from types import SimpleNamespace

from .. import folders
from ..folders import cache_folder
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


@lru_cache(maxsize=1)
def _environment() -> str:
    """Everything besides its text that a compiled kernel depends on."""
    import llvmlite.binding as llvm

    sources = [folders.checksum(folders.own_file(f"cpu/{name}")) for name in _SOURCES]
    versions = [version(package) for package in ("numba", "llvmlite")]
    processor = (host(), llvm.get_process_triple(), llvm.get_host_cpu_features().flatten())
    return repr((versions, sys.version, processor, [os.environ.get(name) for name in _FLAGS], sources))


def _key(text: str) -> str:
    return hashlib.sha256((_environment() + text).encode()).hexdigest()[:32]


def _from_disk(key: str) -> SimpleNamespace | None:
    files = folders.kept(key)
    if files is None or _SYMBOLS not in files:
        return None
    symbols = json.loads(files[_SYMBOLS])
    return link({name: files[f"{name}.o"] for name in symbols}, symbols)


def _compile(key: str, text: str) -> SimpleNamespace:
    objects, symbols = compile_text(f"rnncore_kernel_{key}", text)
    files = {"kernel.py": text.encode(), _SYMBOLS: json.dumps(symbols).encode()}
    folders.keep(key, files | {f"{name}.o": code for name, code in objects.items()})
    return link(objects, symbols)
