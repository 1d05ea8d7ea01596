"""``rnncore doctor``."""

import os
import platform
import sys
import textwrap
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from .options import DoctorOptions
from .output import say

__all__ = ["doctor"]

_PACKAGES = ("numpy", "numba", "llvmlite")
_GPU_PACKAGES = (
    "numba-cuda", "cuda-bindings", "cuda-toolkit", "nvidia-nvvm", "nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink",
    "nvidia-nvjitlink-cu12", "cupy-cuda12x", "cupy-cuda13x", "nvidia-cublas", "nvidia-cublas-cu12",
)  # fmt: skip
_LIMITS = ("RNNCORE_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
_BOUND = 1e-5  # of float32 outputs, relative to the largest


def doctor(options: DoctorOptions) -> None:
    """Show what this machine offers on CPU and GPU, which kernels would be used, and whether they compute right.

    A small network runs on each device and is held against the reference. The status is 1 where the chosen device, or
    by default the CPU, cannot be used.
    """
    fit = {"cpu": _cpu(), "cuda": _gpu()}
    for device, usable in fit.items():
        if usable:
            fit[device] = _trial(device)
    chosen = options.device or "cpu"
    say("runs on", ", ".join(device for device, usable in fit.items() if usable) or "nothing")
    if not fit[chosen]:
        sys.exit(1)


def _say(name: str, text: str) -> None:
    """As `say`; a long text goes on in the next line, below itself."""
    first, *others = textwrap.wrap(text, 100) or [""]
    say(name, first)
    for line in others:
        say("", line)


def _versions(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


# the CPU
def _cpu() -> bool:
    from ..cpu.limits import processors_allowed, quota, threads_allowed
    from ..cpu.machine import host

    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    _say("rnncore", ", ".join([version("rnncore"), system, *_versions(_PACKAGES)]))
    machine, given = host(), processors_allowed()
    lanes = f"{machine.lanes('float32')} float32 or {machine.lanes('float64')} float64"
    many = os.cpu_count() or 1
    _say("cpu", f"{machine.name}, {len(given) if given else many} of {many} processors given to this process")
    _say("vectors", f"{8 * machine.vector_bytes} bits, {lanes}; {machine.registers} registers")
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if os.environ.get(name)]
    limits += [f"a quota of {quota()} processors"] if quota() else []
    _say("threads", f"at most {threads_allowed()} a call; limits: {', '.join(limits) or 'none'}")
    _say("kernels", _folder())
    return True


def _folder() -> str:
    """Where compiled kernels are kept, and in what state that is."""
    from ..folders import cache_folder, usable_root, verified

    root = cache_folder()
    if usable_root() is None:
        return f"{root} cannot be used: it must be writable, and by you alone; every process compiles anew"
    folders = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith("new-")]
    damaged = sum(verified(path) is None for path in folders)
    size = sum(file.stat().st_size for path in folders for file in path.iterdir())
    told = f"{root}: {len(folders)} kept, {size / 2**20:.1f} MiB"
    return f"{told}; {damaged} damaged, they are compiled anew when they are needed" if damaged else told


# the GPU
def _gpu() -> bool:
    from ..cuda import target

    found = list(_versions(_GPU_PACKAGES))
    _say("gpu", _device())
    _say("packages", ", ".join(found) if found else "none of the GPU's is installed")
    reason = target.missing()
    if reason is not None:
        _say("missing", reason)
    return reason is None


def _device() -> str:
    """The devices, in words."""
    from ..cuda import target
    from ..cuda.driver import driver, unavailable

    if target.simulated:
        return "simulated, by NumPy: slow, for tests"
    reason = unavailable()
    if reason is not None:
        return reason
    here = driver()
    major, minor = here.cuda()
    devices = [_described(here, k) for k in range(here.count())]
    return "; ".join([*devices, f"the driver is one for CUDA {major}.{minor}"])


def _described(here, k: int) -> str:
    multiprocessors, shared, _, meet = here.limits(k)
    major, minor = here.capability(k)
    memory = here.memory_bytes(k) / 2**30
    blocks = "a grid's blocks can meet" if meet else "no grid barrier"
    return (
        f"{k}: {here.name(k)}, capability {major}.{minor}, {multiprocessors} multiprocessors with "
        f"{shared // 1024} KiB shared, {memory:.0f} GiB, {blocks}"
    )


# both
def _trial(device: str) -> bool:
    """Run a small network and hold it against the reference."""
    import numpy as np

    from .. import Network, reference
    from ..registry import current

    cell = current().get("cell", current().defaults("command")["cell"])
    net = Network(cell(16), inputs=4)
    x = np.random.default_rng(0).standard_normal((2, 8, 4)).astype("float32")
    try:
        params = net.init(seed=0).to(device)
        began = time.perf_counter()
        y = net(params, x)[0]
        first = time.perf_counter() - began
        took = min(_timed(lambda: net(params, x)) for _ in range(20 if device == "cpu" else 3))
    except Exception as error:  # whatever it is, it is what is wrong here
        _say(f"trial {device}", f"fails: {type(error).__name__}: {error}")
        return False
    want = reference.run(net, net.init(seed=0, dtype="float64"), x.astype("float64"))[0]
    off = float(np.abs(y - want).max() / np.abs(want).max())
    right = off <= _BOUND
    told = f"{cell.name}(16): {'right' if right else 'WRONG'}, off by {off:.1e} of the largest output"
    _say(f"trial {device}", f"{told}; {first:.2f} s the first time, then {took * 1e3:.3f} ms a call")
    return right


def _timed(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
