"""Kernels on a device: compiled once for its capability, kept on disk, loaded into each context, launched."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .. import folders
from .driver import DriverError, driver
from .linker import Report

__all__ = ["Loaded", "code_of"]

_lock = threading.RLock()
_SOURCES = (
    "device.py", "fragments.py", "intrinsics.py", "lane.py", "sums.py", "fast.py", "trigonometry.py", "tiles.py",
    "linker.py", "target.py", "../vecmath.py",
)  # fmt: skip
_PACKAGES = (
    "numba-cuda", "numba", "llvmlite", "cuda-bindings", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-nvjitlink-cu12",
    "nvidia-cuda-nvcc-cu12",
)  # fmt: skip
_PLAIN_SHARED = 48 * 1024


@cache
def _environment() -> str:
    """Everything besides its text and the device that a kernel's machine code depends on."""
    sources = [folders.checksum(folders.own_file(f"cuda/{name}")) for name in _SOURCES]
    return repr((sources, [_version(p) for p in _PACKAGES]))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def code_of(text: str, capability: tuple[int, int]) -> Report:
    """A kernel's machine code, from disk or compiled now."""
    key = "cuda-" + hashlib.sha256(f"{_environment()}{capability}{text}".encode()).hexdigest()[:32]
    files = folders.kept(key)
    if files is not None and "report.json" in files:
        words = json.loads(files["report.json"])
        return Report(ptx=files["kernel.ptx"].decode(), cubin=files["kernel.cubin"], **words)
    from .target import compiled

    report = compiled(text, capability)
    words = {name: value for name, value in asdict(report).items() if name not in ("ptx", "cubin")}
    folders.keep(key, {
        "kernel.py": text.encode(), "kernel.ptx": report.ptx.encode(), "kernel.cubin": report.cubin,
        "report.json": json.dumps(words).encode(),
    })  # fmt: skip
    return report


class Loaded:
    """The kernel of a text, to be launched on the device that is current.

    Parameters
    ----------
    text : str
        A module with one function that is marked by ``entry``.
    """

    def __init__(self, text: str):
        self.text = text
        self._codes: dict[tuple[int, int], Report] = {}
        self._functions: dict[int, int] = {}
        self._allowed: dict[int, int] = {}
        self._most: dict[tuple[int, int, int], int] = {}  # blocks that can meet

    def report(self) -> Report:
        """What the kernel was compiled to for the current device."""
        capability = driver().capability(driver().device())
        with _lock:
            if capability not in self._codes:
                self._codes[capability] = code_of(self.text, capability)
            return self._codes[capability]

    def _function(self, shared_bytes: int) -> int:
        """The kernel in the current context, allowed so much shared memory."""
        context = driver().context()
        if context not in self._functions or self._allowed[context] < shared_bytes:
            with _lock:
                if context not in self._functions:
                    report = self.report()
                    self._allowed[context] = _PLAIN_SHARED  # first: the functions are looked up without the lock
                    self._functions[context] = driver().function(report.cubin, report.name)
                if self._allowed[context] < shared_bytes:
                    driver().allow_shared(self._functions[context], shared_bytes)
                    self._allowed[context] = shared_bytes
        return self._functions[context]

    def resident(self, threads: int, shared_bytes: int) -> int:
        """How many blocks run at once, of so many threads and so much shared memory: the most that can meet."""
        device = driver()
        key = device.context(), threads, shared_bytes
        if key not in self._most:
            multiprocessors = device.limits(device.device())[0]
            self._most[key] = multiprocessors * device.resident(self._function(shared_bytes), threads, shared_bytes)
        return self._most[key]

    def launch(
        self, blocks: int, threads: int, shared_bytes: int, arrays: Sequence[Any], cooperative: bool,
        stream: int | None = None,
    ) -> None:  # fmt: skip
        """Start the kernel, and do not wait for its end.

        Parameters
        ----------
        blocks, threads : int
            The grid, and the size of its blocks.
        shared_bytes : int
            Of each block.
        arrays : sequence
            Contiguous vectors on the device (``__cuda_array_interface__``), and Python integers, in the order of the
            kernel's arguments.
        cooperative : bool
            Whether blocks wait for one another: all of them have to be resident.
        stream : int, optional
            The handle of a stream; by default CuPy's current one.

        Raises
        ------
        TypeError
            If an array is not a contiguous vector.
        DriverError
            If the driver does not launch it, or more blocks would wait for one another than run at once.
        """
        if cooperative and blocks > self.resident(threads, shared_bytes):
            raise DriverError(
                f"{blocks} blocks of {threads} threads and {shared_bytes} bytes of shared memory wait for one another, "
                f"and {self.resident(threads, shared_bytes)} run at once on this device, or on the share of it given"
            )
        words = [word for array in arrays for word in _words(array)]
        where = _current_stream() if stream is None else stream
        driver().launch(self._function(shared_bytes), blocks, threads, shared_bytes, where, words, cooperative)


def _words(array: Any) -> tuple[int, ...]:
    """An argument as numba's kernels take it; an array is owner, parent, size, item's bytes, address, shape, stride."""
    if isinstance(array, int):
        return (array,)
    seen = array.__cuda_array_interface__
    item, shape, strides = int(seen["typestr"][2:]), seen["shape"], seen.get("strides")
    if len(shape) != 1 or strides is not None and strides != (item,):
        raise TypeError(f"an array of shape {shape} and strides {strides}, where a contiguous vector is read")
    return 0, 0, shape[0], item, seen["data"][0], shape[0], item


def _current_stream() -> int:
    import cupy

    return cupy.cuda.get_current_stream().ptr
