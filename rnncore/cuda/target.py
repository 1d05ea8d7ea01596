"""The device: what it offers, kernels' texts made ready to be launched on it, and what is missing to use it."""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

from .driver import driver, unavailable
from .linker import Report, linked
from .loaded import Loaded
from .simulator import Simulated

__all__ = [
    "Properties", "compiled", "compiler", "load", "missing", "missing_to_compile", "properties", "simulated",
    "translated",
]  # fmt: skip

_compiling = threading.RLock()
_INSTALL = "pip install 'rnncore[cuda]'"
# The second stops numba from compiling for devices in the same process, the first does not
simulated: bool = any(
    os.environ.get(name, "0") not in ("", "0") for name in ("RNNCORE_CUDASIM", "NUMBA_ENABLE_CUDASIM")
)


@dataclass(frozen=True)
class Properties:
    """What a device offers.

    Attributes
    ----------
    name : str
    capability : tuple of int
        The compute capability, as (9, 0).
    multiprocessors : int
        Each runs at least one block at a time.
    shared_bytes : int
        The most shared memory that a block can have.
    threads : int
        The most threads that a block can have.
    memory_bytes : int
    warp : int
        Threads that run in step.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes: int
    threads: int
    memory_bytes: int
    warp: int = 32


def properties() -> Properties:
    """What the device offers that kernels are launched on: the current one."""
    if simulated:
        return Properties("simulator", (9, 0), 3, 65536, 8, 1 << 30, 4)
    return _properties(driver().device())


@cache
def _properties(device: int) -> Properties:
    here = driver()
    multiprocessors, shared_bytes, threads, _ = here.limits(device)
    return Properties(
        here.name(device), here.capability(device), multiprocessors, shared_bytes, threads, here.memory_bytes(device)
    )


@cache
def load(text: str) -> Simulated | Loaded:
    """The kernel of a text, ready to be launched: in the simulator, or on the device that is current then."""
    return Simulated(text) if simulated else Loaded(text)


@cache
def compiler() -> Any:
    """numba's compiler for devices: the one place that imports it.

    Raises
    ------
    RuntimeError
        If numba simulates devices in this process, and so compiles nothing for them.
    """
    import numba
    import numba.cuda
    import numba.cuda.extending

    if getattr(numba.config, "ENABLE_CUDASIM"):  # noqa: B009 - made when numba is loaded
        raise RuntimeError("numba compiles for no device where NUMBA_ENABLE_CUDASIM is set")
    return numba.cuda


def compiled(text: str, capability: tuple[int, int]) -> Report:
    """A kernel's text compiled and linked for devices of a capability. No device is needed.

    Parameters
    ----------
    text : str
        A module with one function that is marked by ``entry``.
    capability : tuple of int
        (8, 0), (9, 0), ...

    Returns
    -------
    Report
        The code, and what it takes of a device.
    """
    return linked(translated(text, capability), capability)


def translated(text: str, capability: tuple[int, int]) -> bytes:
    """A kernel's text as what is linked: for devices of that capability, and of those that came after it."""
    cuda = compiler()
    types = cuda.types
    with _compiling, _for_capability(capability):
        function, dtype = _entry(text)
        numbers = getattr(types, dtype)[::1]
        signature = types.void(numbers, numbers, numbers, types.int64[::1], types.int32[::1], types.int64)
        code, _ = cuda.compile(function, signature, device=False, abi="numba", cc=capability, output="ltoir")
    return code


def _entry(text: str) -> tuple[Any, str]:
    """The function of a text that is launched, and the dtype of its arrays."""
    from .device import Entry

    name = f"<kernel {hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = len(text), None, text.splitlines(True), name  # errors of the compiler show the text
    space: dict[str, Any] = {"__name__": name}
    exec(compile(text, name, "exec", dont_inherit=True), space)
    (entry,) = [value for value in space.values() if isinstance(value, Entry)]
    return entry.function, entry.dtype


@contextmanager
def _for_capability(capability: tuple[int, int]) -> Iterator[None]:
    """numba compiles the functions that kernels call for the current device: this one stands in for it."""
    import numba.cuda.dispatcher as dispatcher

    before = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = before


def missing() -> str | None:
    """What is missing to use a GPU, in one sentence that says what to install; None if nothing is.

    The simulator misses nothing.
    """
    if simulated:
        return None
    device = unavailable()
    packages = [reason for reason in (missing_to_compile(), missing_for_arrays()) if reason]
    if not device and not packages:
        packages = [reason for reason in (_too_new(),) if reason]
    install = [f"install the packages with: {_INSTALL}"] if packages else []
    return "; ".join([*([device] if device else []), *packages, *install]) or None


def missing_to_compile() -> str | None:
    """What is missing to compile kernels, in a few words; None if nothing is."""
    packages = [name for name in ("numba_cuda", "cuda.bindings") if not _found(name)]
    if packages:
        names = " and ".join(name.replace("_", "-").replace(".", "-") for name in packages)
        return f"the package {names} is not installed" if len(packages) == 1 else f"{names} are not installed"
    return _not_found("nvvm", "nvJitLink")


def missing_for_arrays() -> str | None:
    """What is missing for arrays on the device and their products, in a few words; None if nothing is."""
    if not _found("cupy"):
        return "the package cupy is not installed"
    return _not_found("cudart", "nvrtc", "cublas") if _found("cuda.pathfinder") else None


def _not_found(*libraries: str) -> str | None:
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    for library in libraries:
        try:
            load_nvidia_dynamic_lib(library)
        except DynamicLibNotFoundError:
            return f"the library {library} of the CUDA toolkit is not installed"
    return None


def _too_new() -> str | None:
    """Whether the toolkit's machine code is for newer drivers than this machine's, in a few words."""
    from cuda.bindings import nvjitlink

    toolkit, (major, minor) = nvjitlink.version()[0], driver().cuda()
    if toolkit <= major:
        return None
    return f"the installed packages are those of CUDA {toolkit}, the NVIDIA driver is one for CUDA {major}.{minor}"


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
