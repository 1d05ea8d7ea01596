"""The driver of NVIDIA's devices: machine code loaded and launched, through libcuda and nothing else.

Everything happens in the context that is current, which CuPy, PyTorch and JAX share: the device's primary one.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from functools import cache
from typing import Any

__all__ = ["Driver", "DriverError", "driver", "lost", "unavailable"]

# The numbers of cuda.h
_THREADS, _MULTIPROCESSORS, _MAJOR, _MINOR, _COOPERATIVE, _SHARED = 1, 16, 75, 76, 95, 97
_MOST_SHARED = 8  # of a function
_LEAST_CUDA, _LEAST_CAPABILITY = 12, (7, 5)  # the toolkits of the extras, and the least that both compile for


class DriverError(RuntimeError):
    """The driver refused."""


class Driver:
    """The functions of libcuda that are used.

    Parameters
    ----------
    library
        What ctypes loaded: its functions give 0, or the number of an error.
    """

    def __init__(self, library: Any):
        self._library, self.process = library, os.getpid()
        self._call("cuInit", 0)

    def _call(self, name: str, *args: Any) -> None:
        status = getattr(self._library, name)(*args)
        if status:
            text = c_char_p()
            self._library.cuGetErrorString(status, byref(text))
            raise DriverError(f"{name}: {(text.value or b'unknown').decode()} ({status})")

    def cuda(self) -> tuple[int, int]:
        """The newest version of CUDA that the driver knows."""
        value = c_int()
        self._call("cuDriverGetVersion", byref(value))
        return value.value // 1000, value.value % 1000 // 10

    def count(self) -> int:
        """How many devices there are."""
        many = c_int()
        self._call("cuDeviceGetCount", byref(many))
        return many.value

    def context(self) -> int:
        """The current context; the first device's primary one becomes current where there is none."""
        current = c_void_p()
        self._call("cuCtxGetCurrent", byref(current))
        if not current.value:
            device = c_int()
            self._call("cuDeviceGet", byref(device), 0)
            self._call("cuDevicePrimaryCtxRetain", byref(current), device)
            self._call("cuCtxSetCurrent", current)
        assert current.value is not None
        return current.value

    def device(self) -> int:
        """The current context's device."""
        self.context()
        device = c_int()
        self._call("cuCtxGetDevice", byref(device))
        return device.value

    def _attribute(self, which: int, device: int) -> int:
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), which, device)
        return value.value

    def name(self, device: int) -> str:
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), device)
        return text.value.decode()

    def capability(self, device: int) -> tuple[int, int]:
        return self._attribute(_MAJOR, device), self._attribute(_MINOR, device)

    def memory_bytes(self, device: int) -> int:
        many = c_size_t()
        self._call("cuDeviceTotalMem_v2", byref(many), device)
        return many.value

    def limits(self, device: int) -> tuple[int, int, int, bool]:
        """Multiprocessors; bytes of shared memory and threads of a block, at most; whether blocks can meet."""
        values = [self._attribute(which, device) for which in (_MULTIPROCESSORS, _SHARED, _THREADS, _COOPERATIVE)]
        return values[0], values[1], values[2], bool(values[3])

    def function(self, cubin: bytes, name: str) -> int:
        """A kernel of machine code, in the current context, which holds it as long as the process lives."""
        module, function = c_void_p(), c_void_p()
        self._call("cuModuleLoadData", byref(module), cubin)
        self._call("cuModuleGetFunction", byref(function), module, name.encode())
        assert function.value is not None
        return function.value

    def allow_shared(self, function: int, shared_bytes: int) -> None:
        """Let blocks of a kernel have so much shared memory; more than 48 KiB has to be asked for."""
        self._call("cuFuncSetAttribute", c_void_p(function), _MOST_SHARED, shared_bytes)

    def resident(self, function: int, threads: int, shared_bytes: int) -> int:
        """How many blocks a multiprocessor runs at once."""
        many = c_int()
        self._call("cuOccupancyMaxActiveBlocksPerMultiprocessor", byref(many), c_void_p(function), threads,
                   c_size_t(shared_bytes))  # fmt: skip
        return many.value

    def launch(
        self, function: int, blocks: int, threads: int, shared_bytes: int, stream: int, words: Sequence[int],
        cooperative: bool,
    ) -> None:  # fmt: skip
        """Start a kernel on a stream. `words` are its parameters, each of 64 bits."""
        values = (ctypes.c_int64 * len(words))(*words)
        first = ctypes.addressof(values)
        places = (c_void_p * len(words))(*range(first, first + 8 * len(words), 8))
        shape = [c_uint(blocks), c_uint(1), c_uint(1), c_uint(threads), c_uint(1), c_uint(1), c_uint(shared_bytes)]
        if cooperative:
            self._call("cuLaunchCooperativeKernel", c_void_p(function), *shape, c_void_p(stream), places)
        else:
            self._call("cuLaunchKernel", c_void_p(function), *shape, c_void_p(stream), places, None)


@cache
def _of_this_machine() -> Driver:
    return Driver(ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"))


def driver() -> Driver:
    """The driver of this machine.

    Raises
    ------
    OSError
        If none is installed.
    DriverError
        If it finds no device, or is too old for one; or the process was forked from one that had called it, for which
        the driver does nothing (CUDA C++ programming guide, "Initialization").
    """
    found = _of_this_machine()
    if found.process != os.getpid():
        raise DriverError(
            "this process was forked from one that uses the GPU, in which nothing of it works: start processes with "
            "multiprocessing.get_context('spawn')"
        )
    return found


def lost() -> str | None:
    """Why a device that was there is of no use to this process, in a few words; None if it is."""
    try:
        driver()
    except DriverError as error:
        return str(error)
    return None


def unavailable() -> str | None:
    """Why no device can be used, in a few words; None if one can."""
    try:
        here = driver()
        many = here.count()
    except OSError:
        return "there is no NVIDIA driver on this machine"
    except DriverError as error:
        return f"the NVIDIA driver gives up: {error}"
    if not many:
        return "the NVIDIA driver finds no GPU"
    if here.cuda() < (_LEAST_CUDA, 0):
        return f"the NVIDIA driver is one for CUDA {_dotted(here.cuda())}: {_LEAST_CUDA}.0 or newer is needed"
    best = max(range(many), key=here.capability)
    if here.capability(best) < _LEAST_CAPABILITY:
        has = f"{here.name(best)} has compute capability {_dotted(here.capability(best))}"
        return f"{has}, {_dotted(_LEAST_CAPABILITY)} or more is needed"
    return None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
