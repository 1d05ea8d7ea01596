"""A launch on its PTX: threads that are behind go first, and wait where they wait on a device."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.kernels.ptx import Instruction, Program

from .decode import acquired, step_of, warp_step
from .memory import AccessError, Global, Own
from .operands import Context, UnknownInstruction, source
from .races import Watch

__all__ = ["Grid", "WaitError"]

_WARP = 32


class WaitError(RuntimeError):
    """Threads wait for what never comes."""


class _Registers(dict):
    def __missing__(self, name: str) -> Any:
        raise RuntimeError(f"%{name} is read before it is written")


class Grid:
    """The threads of a launch.

    Parameters
    ----------
    program : Program
    blocks, threads : int
    shared_bytes : int
        Of each block.
    memory : Global
        The arrays of the launch.
    parameters : sequence of int
        Of the entry, addresses among them.
    cooperative : bool
        Whether blocks may wait for one another.
    watch : bool
        Whether races are looked for.
    """

    def __init__(
        self, program: Program, blocks: int, threads: int, shared_bytes: int, memory: Global,
        parameters: Sequence[int], cooperative: bool, watch: bool = False,
    ):  # fmt: skip
        if threads % _WARP:
            raise ValueError(f"{threads} threads are not whole warps")
        self.program, self.threads, self.many = program, threads, blocks * threads
        self.cooperative = cooperative or blocks == 1
        every = np.arange(self.many)
        self.block, self.warp = every // threads, every // _WARP
        self.registers = _Registers()
        local = sum(size for space, size in program.arrays.values() if space == "local")
        self.spaces: dict[str, Any] = {
            "global": memory, "shared": Own(self.block, shared_bytes), "local": Own(every, local),
        }  # fmt: skip
        self.watch = Watch(self.block, threads, len(memory.data), len(self.spaces["shared"].data)) if watch else None
        self._context = Context(program.registers, self._special(blocks, shared_bytes), self._symbols(),
                                tuple(parameters))  # fmt: skip
        self._code, self._starts = self._flat()
        self.steps: dict[int, Any] = {}
        self.pc = np.zeros(self.many, np.int64)
        self.done, self.parked, self.met, self.spins = np.zeros((4, self.many), bool)
        self.seen = np.full((3, self.many), -1, np.int64)  # where a thread acquired last, what place, and its number
        self.wrote = False
        self.narrow(~self.done)

    def _special(self, blocks: int, shared_bytes: int) -> dict[str, np.ndarray]:
        every = np.arange(self.many, dtype=np.uint32)
        same = {"ntid.x": self.threads, "nctaid.x": blocks, "dynamic_smem_size": shared_bytes}
        named = {"tid.x": every % self.threads, "ctaid.x": every // self.threads, "laneid": every % _WARP}
        return named | {name: np.full(self.many, value, np.uint32) for name, value in same.items()}

    def _symbols(self) -> dict[str, int]:
        found = {}
        for name, (space, size) in self.program.arrays.items():
            if space == "shared" and size:
                raise UnknownInstruction(f"the shared array {name}, whose size is fixed")
            found[name] = self.spaces[space].first
        return found

    def _flat(self) -> tuple[list[tuple[Any, ...]], set[int]]:
        """Instructions in the order of the text, with branches and ends among them; and where blocks begin."""
        code: list[tuple[Any, ...]] = []
        starts, ends = [], {}
        for block in self.program.blocks:
            starts.append(len(code))
            code += [(_sort(one), one) for one in block.body]
            if block.ends or block.target is not None:
                ends[len(code)] = block
                code.append(("end" if block.ends else "branch", block.guard))
        for at, block in ends.items():
            code[at] += (-1 if block.ends else starts[block.target],)
        return code, set(starts)

    # what steps use
    def narrow(self, mask: np.ndarray) -> None:
        """Let the threads of `mask` be at work."""
        self.mask, self.full = mask, bool(mask.all())
        self.lanes = np.flatnonzero(mask)

    @contextmanager
    def only(self, condition: np.ndarray) -> Iterator[bool]:
        """Of the threads at work those that `condition` holds for; gives whether there are any."""
        before = self.mask
        self.narrow(before & condition)
        yield bool(len(self.lanes))
        self.narrow(before)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Numbers of the threads at work, among zeros for the others."""
        if self.full:
            return values
        every = np.zeros(self.many, values.dtype)
        every[self.lanes] = values
        return every

    def at(self, one: Instruction, space: str, addresses: np.ndarray, size: int, writes: bool | None) -> np.ndarray:
        """Where the bytes of an access lie, of the threads at work; None: it is one that may not race."""
        addresses = addresses[self.lanes]
        places, wrong = self.spaces[space].places(addresses, size, self.lanes)
        wrong |= addresses % size != 0
        if wrong.any():
            k = int(np.flatnonzero(wrong)[0])
            raise AccessError(f"{self.name(self.lanes[k])} at {addresses[k]:#x}, {size} bytes, {space}: {one}")
        if writes:
            self.wrote = True
        if self.watch is not None and space != "local" and writes is not None:
            self.watch.access(space, places, size, self.lanes, writes, one)
        return places

    def released(self, places: np.ndarray) -> None:
        """Counters have been raised by the threads at work."""
        self.wrote = True
        if self.watch is not None:
            self.watch.released(places, self.lanes)

    def name(self, thread: int) -> str:
        return f"block {thread // self.threads} thread {thread % self.threads}"

    # threads
    def run(self) -> None:
        """Run all threads to their ends."""
        with np.errstate(all="ignore"):
            while not self.done.all():
                ready = ~(self.done | self.parked)
                if not ready.any():
                    self._wake()
                    continue
                here = int(self.pc[ready].min())
                mask = ready & (self.pc == here)
                self._go(here, mask, int(mask.sum()) == int(ready.sum()))

    def _go(self, pc: int, mask: np.ndarray, alone: bool) -> None:
        """Run threads that are at one instruction until they part, wait, or may meet others."""
        self.narrow(mask)
        first = True
        while len(self.lanes):
            if not first and not alone and pc in self._starts:
                self.pc[self.lanes] = pc
                return
            first, sort = False, self._code[pc][0]
            if sort == "plain":
                self._step(pc, step_of)(self)
            elif sort in ("branch", "end"):
                to = self._branch(pc, alone)
                if to is None:
                    return
                pc = to
                continue
            elif sort == "barrier":
                self.pc[self.lanes] = pc
                self.parked |= self.mask
                self.met |= self.mask
                self._meet()
                return
            else:
                alone &= self._together(pc) if sort == "warp" else self._acquire(pc)
            pc += 1

    def _step(self, pc: int, make: Any) -> Any:
        if pc not in self.steps:
            self.steps[pc] = make(self._code[pc][1], self._context)
        return self.steps[pc]

    def _branch(self, pc: int, alone: bool) -> int | None:
        """Where all threads at work go on; None if that is for `run` to find out."""
        sort, guard, to = self._code[pc]
        taken = self.mask
        if guard:
            text = "!%" + guard[1:] if guard[0] == "!" else "%" + guard
            taken = self.mask & source(text, "pred", self._context)(self)
        stays = self.mask & ~taken
        if sort == "end":
            self.done |= taken
            self.pc[stays] = pc + 1
            self.parked[self.parked & ~self.met & ~self.spins] = False  # their warps may be complete now
            self._meet()
            return None
        if alone and (not taken.any() or not stays.any()):
            return to if taken.any() else pc + 1
        self.pc[taken], self.pc[stays] = to, pc + 1
        return None

    # waiting
    def _together(self, pc: int) -> bool:
        """What warps do together, those that are all there; whether nobody was left behind."""
        whole = self.mask
        if not self.full:
            here = self.mask | self.parked & (self.pc == pc)
            many, there = (np.bincount(self.warp[m], minlength=self.warp[-1] + 1) for m in (here, ~self.done))
            whole = here & (many == there)[self.warp]
        same = whole is self.mask or bool((whole == self.mask).all())
        if not same:
            if ".aligned" in self._code[pc][1].op:
                raise WaitError(f"{self.name(self.lanes[0])} comes without its whole warp to {self._code[pc][1]}")
            self.pc[here] = pc
            self.parked[here & ~whole], self.parked[whole] = True, False
            self.narrow(whole)
        if len(self.lanes):
            self._step(pc, warp_step)(self)
        return same

    def _meet(self) -> None:
        """Let blocks go on whose threads are all at a barrier."""
        blocks = self.block[-1] + 1
        waiting, there = (np.bincount(self.block[m], minlength=blocks) for m in (self.met, ~self.done))
        opens = (waiting == there) & (there > 0)
        if opens.any():
            go = self.met & opens[self.block]
            self.met[go], self.parked[go] = False, False
            self.pc[go] += 1
            if self.watch is not None:
                self.watch.met(np.flatnonzero(opens))

    def _acquire(self, pc: int) -> bool:
        """Read counters; threads that read the same again sleep. Whether none does."""
        if not self.cooperative:
            raise WaitError(f"{self.name(self.lanes[0])} waits for other blocks in a launch that is not cooperative")
        where, put = self._step(pc, acquired)
        at = where(self)
        now = self.spaces["global"].data.view(np.uint32)[at]
        key = np.stack([np.full(len(at), pc), at, now])
        again = (self.seen[:, self.lanes] == key).all(0)
        self.seen[:, self.lanes] = key
        if self.watch is not None:
            self.watch.acquired(4 * at[~again], self.lanes[~again])
        put(self, self.spread(now))
        asleep = self.lanes[again]
        self.pc[asleep], self.parked[asleep], self.spins[asleep] = pc, True, True
        self.narrow(self.mask & ~self.spins)
        return not len(asleep)

    def _wake(self) -> None:
        """Let those look again who wait for a counter."""
        if not self.wrote or not self.spins.any():
            raise WaitError("the kernel waits for ever: " + "; ".join(self._waiting()))
        self.wrote = False
        self.seen[0, self.spins] = -1
        self.parked &= ~self.spins
        self.spins[:] = False

    def _waiting(self) -> Iterator[str]:
        for pc in np.unique(self.pc[self.parked]):
            those = np.flatnonzero(self.parked & (self.pc == pc))
            yield f"{self.name(those[0])} and {len(those) - 1} more at {self._code[pc][1]}"


def _sort(one: Instruction) -> str:
    """How threads come to an instruction."""
    if re.fullmatch(r"(bar|barrier)(\.cta)?\.sync(\.aligned)?", one.op):
        if one.args != ("0",) or one.guard:
            raise UnknownInstruction(one)
        return "barrier"
    if one.op.startswith("ld.acquire.gpu.global"):
        return "acquire"
    return "warp" if one.op.startswith(("shfl.sync", "mma.sync", "vote.sync", "match", "redux")) else "plain"
