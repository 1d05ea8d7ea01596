"""What the host is: the registers that kernels are written for, the processor that a thread runs on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Machine", "host", "processor"]


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
