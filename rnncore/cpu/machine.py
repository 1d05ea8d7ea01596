"""What the host is: the registers that kernels are written for, the processors that threads may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Machine", "host", "processor", "processors_allowed", "threads_allowed"]


@dataclass(frozen=True)
class Machine:
    """Bytes of a vector register, their number, and the processor's name (part of every kernel's hash)."""

    vector_bytes: int
    registers: int
    name: str

    def lanes(self, dtype: str) -> int:
        return self.vector_bytes // (4 if dtype == "float32" else 8)


@lru_cache(maxsize=1)
def host() -> Machine:
    """The machine this process runs on."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    name = llvm.get_host_cpu_name()
    arm = llvm.get_process_triple().startswith(("aarch64", "arm64"))
    if features.get("avx512f"):
        return Machine(64, 32, name)
    if features.get("avx"):
        return Machine(32, 16, name)
    return Machine(16, 32 if arm else 16, name)


def threads_allowed() -> int:
    """Threads a call may use: ``RNNCORE_NUM_THREADS``, else the processors given to this process."""
    asked = os.environ.get("RNNCORE_NUM_THREADS")
    if asked:
        from ..errors import InputError

        if not asked.isdigit() or int(asked) < 1:
            raise InputError(f"RNNCORE_NUM_THREADS must be a positive integer, got {asked!r}")
        return int(asked)
    allowed = processors_allowed()
    return (os.cpu_count() or 1) if allowed is None else len(allowed)


def processors_allowed() -> frozenset[int] | None:
    """Processors given to this thread; None where the system does not tell."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:
        return None


def processor() -> int | None:
    """The processor this thread runs on; None where the system does not tell."""
    which = _sched_getcpu()
    found = -1 if which is None else which()
    return None if found < 0 else found


@lru_cache(maxsize=1)
def _sched_getcpu():
    import ctypes

    try:
        return ctypes.PyDLL(None).sched_getcpu  # returns at once: no need to let go of the interpreter's lock
    except (AttributeError, OSError, TypeError):
        return None
