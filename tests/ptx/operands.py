"""Where instructions find their operands, and where they put what they give."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.kernels.ptx import Instruction

__all__ = ["TYPES", "Context", "UnknownInstruction", "listed", "place", "source", "target"]

TYPES = {f"{kind}{8 * n}": np.dtype(f"{'i' if kind == 's' else 'u'}{n}") for kind in "bus" for n in (1, 2, 4, 8)}
TYPES |= {"f32": np.dtype("f4"), "f64": np.dtype("f8"), "pred": np.dtype(bool)}


class UnknownInstruction(NotImplementedError):
    """What the interpreter knows no meaning of."""

    def __init__(self, one: Instruction | str):
        super().__init__(f"no meaning is known of {one}")


@dataclass(frozen=True)
class Context:
    """What names stand for.

    Attributes
    ----------
    registers : mapping of str to str
        See `benchmarks.kernels.ptx.Program`.
    special : mapping of str to ndarray
        Registers that are only read, as "tid.x", of all threads.
    symbols : mapping of str to int
        Addresses.
    parameters : sequence of int
        Of the entry, 64 bits each.
    """

    registers: Mapping[str, str]
    special: Mapping[str, np.ndarray]
    symbols: Mapping[str, int]
    parameters: tuple[int, ...]

    def stored(self, name: str) -> np.dtype:
        return TYPES[self.registers[name.rstrip("0123456789")]]


Source = Callable[[Any], Any]


def source(text: str, kind: str, context: Context) -> Source:
    """What gives the operand `text` as numbers of type `kind`, of all threads or the same for all."""
    dtype, found = TYPES[kind], re.fullmatch(r"(!?)%([a-z]+\d+)", text)
    if found is None:
        value = _special(text[1:], dtype, context) if text[0] == "%" else _constant(text, dtype, context)
        return lambda grid: value
    name, stored = found[2], context.stored(found[2])
    if found[1]:
        return lambda grid: ~grid.registers[name]
    if stored == dtype:
        return lambda grid: grid.registers[name]
    if stored.itemsize == dtype.itemsize:
        return lambda grid: grid.registers[name].view(dtype)
    if stored.itemsize < dtype.itemsize or stored.kind == "b":
        raise UnknownInstruction(f"%{name}, of {8 * stored.itemsize} bits, read as {kind}")
    narrow = TYPES[f"b{8 * dtype.itemsize}"]
    return lambda grid: grid.registers[name].astype(narrow).view(dtype)


def _special(name: str, dtype: np.dtype, context: Context) -> np.ndarray:
    if name not in context.special:
        raise UnknownInstruction(f"the register %{name}")
    return context.special[name].astype(dtype)


def _constant(text: str, dtype: np.dtype, context: Context) -> Any:
    if found := re.fullmatch(r"0[fFdD]([0-9A-Fa-f]{8}|[0-9A-Fa-f]{16})", text):
        bits = np.dtype(f"u{len(found[1]) // 2}").type(int(found[1], 16))
        return bits.view(dtype)
    value = context.symbols[text] if text in context.symbols else int(text.rstrip("U"), 0)
    if dtype.kind in "bf":
        return dtype.type(value)
    return np.array(value % (1 << 8 * dtype.itemsize), f"u{dtype.itemsize}").view(dtype)[()]


def target(name: str, context: Context) -> Callable[[Any, Any], None]:
    """What puts numbers into a register, of the threads at work."""
    stored = context.stored(name)
    signed = np.dtype(f"i{stored.itemsize}")

    def put(grid: Any, value: Any) -> None:
        if value.dtype != stored:
            if value.dtype.itemsize != stored.itemsize:
                value = value.astype(signed if value.dtype.kind == "i" else stored)
            value = value.view(stored)
        registers = grid.registers
        if value.ndim == 0:
            value = np.full(grid.many, value)
        if not grid.full and name in registers:
            value = np.where(grid.mask, value, registers[name])
        registers[name] = value

    return put


def listed(text: str) -> list[str]:
    """The parts of ``{a, b}``, or `text` alone."""
    return [part.strip() for part in text.strip("{}").split(",")]


def place(text: str, context: Context) -> Source:
    """The addresses that ``[base+offset]`` stands for, as int64."""
    base, _, more = text.strip("[]").partition("+")
    offset = np.int64(int(more or 0))
    if base[0] != "%":
        address = np.int64(context.symbols[base]) + offset
        return lambda grid: np.full(grid.many, address)
    wide = context.stored(base[1:]).itemsize == 8
    read = source(base, "s64" if wide else "u32", context)
    return lambda grid: read(grid).astype(np.int64) + offset
