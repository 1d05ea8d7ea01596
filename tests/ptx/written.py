"""Kernels written in PTX by hand, for tests of single instructions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.kernels.ptx import parsed

from .grid import Grid
from .memory import Global

__all__ = ["computed", "run"]

_HEAD = """
.extern .shared .align 16 .b8 shared_memory[];
.visible .entry kernel()
{
    .reg .pred %p<9>;
    .reg .b16 %rs<20>;
    .reg .f32 %f<20>;
    .reg .b32 %r<40>;
    .reg .f64 %fd<20>;
    .reg .b64 %rd<40>;
    .local .align 8 .b8 depot[16];
"""
_REGISTERS = {"f4": ("f", "f32"), "f8": ("fd", "f64"), "u4": ("r", "u32"), "i4": ("r", "u32"), "u8": ("rd", "u64"),
              "i8": ("rd", "u64")}  # fmt: skip


def run(
    body: str, arrays: Sequence[np.ndarray], blocks: int = 1, threads: int = 32, shared_bytes: int = 0,
    cooperative: bool = False, watch: bool = True, more: Sequence[int] = (),
) -> Grid:  # fmt: skip
    """Run instructions; the parameters are the arrays' addresses, then `more`."""
    memory = Global(arrays)
    program = parsed(f"{_HEAD}{body}\nret;\n}}\n")
    grid = Grid(program, blocks, threads, shared_bytes, memory, [*memory.addresses, *more], cooperative, watch)
    grid.run()
    memory.back()
    return grid


def computed(instruction: str, kinds: str, *operands: Sequence) -> np.ndarray:
    """What an instruction gives in register 0, its operands being in the registers from 10 on.

    Parameters
    ----------
    instruction : str
        ``"add.s32 %r0, %r10, %r11;"``.
    kinds : str
        NumPy's types, of the result and of each operand: ``"i4 i4 i4"``.
    """
    many = len(operands[0])
    wide = -(-many // 32) * 32
    kind, *given = kinds.split()
    columns = [np.resize(np.array(values, dtype), wide) for values, dtype in zip(operands, given, strict=True)]
    out = np.zeros(wide, kind)
    lines = ["mov.u32 %r30, %tid.x;", "cvt.u64.u32 %rd30, %r30;"]
    for k, column in enumerate(columns):
        name, form = _REGISTERS[column.dtype.str[1:]]
        lines += [f"ld.param.u64 %rd31, [kernel_param_{k}];", *_place(column.itemsize)]
        lines += [f"ld.global.{form} %{name}{10 + k}, [%rd32];"]
    name, form = _REGISTERS[out.dtype.str[1:]]
    lines += [*instruction.splitlines(), f"ld.param.u64 %rd31, [kernel_param_{len(columns)}];", *_place(out.itemsize)]
    run("\n".join([*lines, f"st.global.{form} [%rd32], %{name}0;"]), [*columns, out], threads=wide)
    return out[:many]


def _place(size: int) -> list[str]:
    return [f"mul.lo.s64 %rd32, %rd30, {size};", "add.s64 %rd32, %rd31, %rd32;"]
