"""Instructions as functions of a grid: what is computed, loaded and stored by the threads that are at work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.kernels.ptx import Instruction

from . import arithmetic, tensor
from .operands import TYPES, Context, UnknownInstruction, listed, place, source, target

__all__ = ["Step", "acquired", "step_of", "warp_step"]

Step = Callable[[Any], None]
_NOTHING = re.compile(r"(membar|fence|prefetch|bar\.warp\.sync)\b.*")
_ACCESS = re.compile(r"(ld|st)\.(global|shared|local)(?:\.nc)?(?:\.v([24]))?\.([busf]\d+)")
_ADDED = re.compile(r"red\.release\.gpu\.(global)\.add\.([us]\d+)")


def step_of(one: Instruction, context: Context) -> Step:
    """What an instruction does, besides those that threads wait at.

    Raises
    ------
    UnknownInstruction
        If no meaning is known of it.
    """
    try:
        plain = _plain(one, context)
    except (KeyError, ValueError) as error:
        raise UnknownInstruction(one) from error
    if not one.guard:
        return plain
    guard = source(_guard(one.guard), "pred", context)

    def guarded(grid: Any) -> None:
        with grid.only(guard(grid)) as any_left:
            if any_left:
                plain(grid)

    return guarded


def _guard(text: str) -> str:
    return "!%" + text[1:] if text[0] == "!" else "%" + text


def _plain(one: Instruction, context: Context) -> Step:
    if _NOTHING.fullmatch(one.op):
        return lambda grid: None
    if one.op.startswith("ld.param"):
        return _parameter(one, context)
    if one.op.startswith("mov."):
        return _moved(one, context)
    if access := _ACCESS.fullmatch(one.op):
        what, space, many, kind = access.groups()
        return {"ld": _loaded, "st": _stored}[what](one, context, space, int(many or 1), kind)
    if access := _ADDED.fullmatch(one.op):
        return _added(one, context, *access.groups())
    known = arithmetic.found(one.op)
    if known is None:
        raise UnknownInstruction(one)
    function, kinds = known
    reads = [source(text, kind, context) for text, kind in zip(one.args, kinds, strict=True)]
    (put,) = [target(name, context) for name in one.out]
    return lambda grid: put(grid, function(*[read(grid) for read in reads]))


def _parameter(one: Instruction, context: Context) -> Step:
    (put,) = [target(name, context) for name in one.out]
    value = np.int64(context.parameters[int(one.args[0].rstrip("]").rpartition("_")[2])]).view(np.uint64)
    return lambda grid: put(grid, value)


def _moved(one: Instruction, context: Context) -> Step:
    kind = one.op.split(".")[1]
    puts = [target(name, context) for name in one.out]
    if one.args[0][0] == "{":
        reads = [source(text, f"b{int(kind[1:]) // 2}", context) for text in listed(one.args[0])]
        half = TYPES[kind].type(int(kind[1:]) // 2)
        return lambda grid: puts[0](
            grid, reads[0](grid).astype(TYPES[kind]) | reads[1](grid).astype(TYPES[kind]) << half
        )
    read = source(one.args[0], kind, context)
    if len(puts) == 1:
        return lambda grid: puts[0](grid, read(grid))
    narrow, half = TYPES[f"b{int(kind[1:]) // 2}"], TYPES[kind].type(int(kind[1:]) // 2)

    def halves(grid: Any) -> None:
        whole = read(grid)
        puts[0](grid, whole.astype(narrow))
        puts[1](grid, (whole >> half).astype(narrow))

    return halves


# memory
def _loaded(one: Instruction, context: Context, space: str, many: int, kind: str) -> Step:
    puts, where, dtype = [target(name, context) for name in one.out], place(one.args[0], context), TYPES[kind]

    def load(grid: Any) -> None:
        memory = grid.spaces[space].data
        at = grid.at(one, space, where(grid), dtype.itemsize * many, False) // dtype.itemsize
        for k, put in enumerate(puts):
            put(grid, grid.spread(memory.view(dtype)[at + k]))

    return load


def _stored(one: Instruction, context: Context, space: str, many: int, kind: str) -> Step:
    where, dtype = place(one.args[0], context), TYPES[kind]
    reads = [source(text, kind, context) for text in listed(one.args[1])]

    def store(grid: Any) -> None:
        memory = grid.spaces[space].data
        at = grid.at(one, space, where(grid), dtype.itemsize * many, True) // dtype.itemsize
        for k, read in enumerate(reads):
            memory.view(dtype)[at + k] = np.broadcast_to(read(grid), grid.many)[grid.lanes]

    return store


def _added(one: Instruction, context: Context, space: str, kind: str) -> Step:
    where, dtype, read = place(one.args[0], context), TYPES[kind], source(one.args[1], kind, context)

    def add(grid: Any) -> None:
        at = grid.at(one, space, where(grid), dtype.itemsize, None) // dtype.itemsize
        np.add.at(grid.spaces[space].data.view(dtype), at, np.broadcast_to(read(grid), grid.many)[grid.lanes])
        grid.released(at * dtype.itemsize)

    return add


def acquired(one: Instruction, context: Context) -> tuple[Callable[[Any], Any], Callable[[Any, Any], None]]:
    """Of ``ld.acquire``: where a number lies, in 32-bit words, and what puts it into its register."""
    where, put = place(one.args[0], context), target(one.out[0], context)
    return lambda grid: grid.at(one, "global", where(grid), 4, None) // 4, put


# what a warp does together
def warp_step(one: Instruction, context: Context) -> Step:
    """As `step_of`, of what all threads of a warp do at once."""
    if one.guard:
        raise UnknownInstruction(one)
    if found := re.fullmatch(r"shfl\.sync\.(bfly|idx)\.b32", one.op):
        return _shuffled(one, context, found[1])
    products = {
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32": tensor.mma_tf32,
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32": tensor.mma_bf16,
    }
    if one.op in products:
        return _multiplied(one, context, products[one.op])
    raise UnknownInstruction(one)


def _shuffled(one: Instruction, context: Context, how: str) -> Step:
    value, by = source(one.args[0], "b32", context), source(one.args[1], "u32", context)
    (put,) = [target(name, context) for name in one.out]
    if tuple(int(text, 0) for text in one.args[2:]) != (0x1F, 0xFFFFFFFF):
        raise UnknownInstruction(one)

    def shuffle(grid: Any) -> None:
        lane = np.arange(grid.many) % 32
        other = (lane ^ by(grid) if how == "bfly" else by(grid)).astype(np.int64) & 31
        put(grid, np.broadcast_to(value(grid), grid.many)[np.arange(grid.many) - lane + other])

    return shuffle


def _multiplied(one: Instruction, context: Context, product: Callable[..., list[np.ndarray]]) -> Step:
    parts = [[source(text, kind, context) for text in listed(a)] for a, kind in zip(one.args, ("b32", "b32", "f32"))]
    puts = [target(name, context) for name in one.out]

    def multiply(grid: Any) -> None:
        given = [[np.broadcast_to(read(grid), grid.many).reshape(-1, 32) for read in part] for part in parts]
        for put, sums in zip(puts, product(*given), strict=True):
            put(grid, sums.reshape(-1))

    return multiply
