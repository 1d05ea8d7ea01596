"""What a multiprocessor takes for an instruction: places in the schedulers, and cycles until its result is there.

Issue slots are those of the machine code that the assembler makes of the PTX: 64-bit integers are pairs of registers,
but addresses of shared memory are not, and shifts go into additions; the assembler rounds an operand of tensor cores
once for all their products. Latencies of H100 and A100 were measured by Luo et al. 2024, arXiv:2402.13499, Abdelkhalik
et al. 2022, arXiv:2208.11174, and, of tensor cores, Sun et al. 2022, arXiv:2206.02874.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["L2_LATENCY", "NEAR_LATENCY", "SHARED_LATENCY", "costs", "multiply_adds"]

SHARED_LATENCY, NEAR_LATENCY, L2_LATENCY = 29, 34, 262  # cycles of a load; near: the multiprocessor's own cache
_COSTS = {  # by how an op begins, the longest first: (issue slots of a warp, cycles)
    "add.s64": (1.2, 5), "sub.s64": (1.2, 5), "shl": (0.75, 5),
    "mov": (0, 0), "cvta": (0, 0), "cvt": (0, 2), "ld.param": (0, 0),
    "mul.lo.s64": (3, 12), "mul.lo.u64": (3, 12), "mad.lo.s64": (4, 14), "mul.hi": (3, 12), "mul.wide": (1, 6),
    "mul.lo": (1, 5), "mad": (1, 5),
    "div.s64": (110, 400), "div.u64": (100, 360), "rem.s64": (110, 400), "rem.u64": (100, 360),
    "div.u32": (17, 80), "rem.u32": (18, 84), "div.s32": (22, 96), "rem.s32": (23, 100),
    "div.rn.f32": (9, 40), "div.full": (4, 30), "rcp.rn.f32": (8, 36), "sqrt.rn.f32": (9, 40),
    "div.rn.f64": (20, 120), "rcp.rn.f64": (18, 110), "sqrt.rn.f64": (20, 120),
    "ex2": (4, 18), "rcp": (4, 18), "tanh": (4, 18), "rsqrt": (4, 18), "sin": (4, 18), "cos": (4, 18), "lg2": (4, 18),
    "shfl": (2, 23), "mma": (2, 33), "cvt.rna.tf32": (1.3, 8), "cvt.rn.bf16x2": (1, 6), "call": (60, 200),
}  # fmt: skip


@lru_cache(maxsize=512)
def costs(op: str) -> tuple[float, float]:
    """(issue slots, cycles until the result) of an op in PTX, memory and barriers apart."""
    for start in sorted(_COSTS, key=len, reverse=True):
        if op.startswith(start):
            return _COSTS[start]
    if op.endswith("64"):
        return (2, 8) if op.endswith(".f64") else (1 if "setp" in op else 2, 6)
    return 1, 4.5


@lru_cache(maxsize=16)
def multiply_adds(op: str) -> int:
    """Of a warp's product on tensor cores, ``mma.sync.aligned.m16n8k8...``."""
    rows, columns, inner = map(int, re.search(r"\.m(\d+)n(\d+)k(\d+)\.", op).groups())
    return rows * columns * inner
