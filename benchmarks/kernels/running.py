"""One block of a launch, run on its PTX with real addresses and no data: how long it takes by a model of the machine.

The threads of the block go together, those that are behind first, as they do on a device that brings them together
again behind a branch. Integers are computed, for they are sizes and addresses; numbers are not. A warp waits for what
it reads; where the block's threads meet, the time is that of the slowest warp, or what the multiprocessor's schedulers,
its load unit or its share of the L2 cache's bandwidth need for all warps together, whichever is longer. A loop without
branches is run a few times, then by its differences to the end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .access import SECTOR, WARP, banks, bytes_of, sectors
from .integers import OPS
from .machine import L2_LATENCY, NEAR_LATENCY, SHARED_LATENCY, costs, multiply_adds
from .ptx import Block, Instruction, Program
from .usage import Launched, Usage

__all__ = ["run"]

BRANCH = 8  # cycles until the instructions behind a branch that is taken begin
WATCHED = 8  # times that a loop is run before its end is foreseen
ARRAYS = 7  # entry parameters that numba makes of an array; the address is the fifth
FAR = 1 << 60


def run(program: Program, launched: Launched) -> Usage:
    """Run one block to its end."""
    return _Machine(program, launched).run()


class _Machine:
    def __init__(self, program: Program, launched: Launched):
        self.program, self.launched = program, launched
        self.lanes = launched.threads
        self.warps = -(-self.lanes // WARP)
        self.warp_of = np.arange(self.lanes) // WARP
        self.values: dict[str, np.ndarray] = {}
        self.ready: dict[str, np.ndarray] = {}
        self.now = np.zeros(self.warps)
        self.pc = np.zeros(self.lanes, np.int64)
        self.usage, self.since = Usage(), Usage()  # as it was when all met last
        self.near: dict[int, float] = {}
        self.missed = 0.0

    def run(self) -> Usage:
        while True:
            here = int(self.pc.min())
            if here == FAR:
                self._meet(0)
                return self.usage
            mask = self.pc == here
            self._block(here, mask)
            if self.program.blocks[here].target == here and (self.pc[mask] == here).any():
                self._loop(here)

    # control
    def _block(self, here: int, mask: np.ndarray) -> None:
        block = self.program.blocks[here]
        self.mask, self.all = mask, bool(mask.all())
        self.awake = np.bincount(self.warp_of[mask], minlength=self.warps) > 0
        self.start, slots = self.now.copy(), 0.0
        for one in block.body:
            slots += self._instruction(one, slots)
        self._branch(here, block, mask, slots)

    def _branch(self, here: int, block: Block, mask: np.ndarray, slots: float) -> None:
        after = self.start + slots + 1
        taken = np.ones(self.lanes, bool)
        if block.guard:
            name = block.guard.lstrip("!")
            taken = self._value("%" + name) != block.guard.startswith("!")
            after = np.maximum(after, self.ready.get(name, 0))
        to = FAR if block.ends else here + 1 if block.target is None else block.target
        self.pc = np.where(mask, np.where(taken, to, here + 1), self.pc)
        jumps = np.bincount(self.warp_of[mask & taken], minlength=self.warps) > 0
        after = after + np.where(jumps & (to != here + 1), BRANCH, 0)
        self.now = np.where(self.awake, after, self.now)
        self.usage.slots += (slots + (to != here + 1)) * self.awake.sum()

    def _loop(self, here: int) -> None:
        """Run a loop of one block to the end of the first thread that leaves it."""
        mask = self.pc == here
        before: list = []
        for _ in range(2):
            before.append(self._state())
            for _ in range(WATCHED):
                self._block(here, mask)
                if not np.array_equal(self.pc == here, mask):
                    return
        last = self._state()
        names = [n for n in self._written(here) if n in self.values]
        moves = {n: last[0][n] - before[1][0][n] for n in names}
        if any((moves[n] != before[1][0][n] - before[0][0][n]).any() for n in names):
            return
        times = self._times(here, mask, moves)
        self._leap(times, moves, before[1], last)

    def _times(self, here: int, mask: np.ndarray, moves) -> int:
        """How many more rounds of `WATCHED` all threads stay in the loop, at least."""
        kept, many, step = dict(self.values), 0, 1 << 20
        self.signs: dict[str, np.ndarray] = {}
        self._stays(here, mask)
        while step:
            self.values = {**kept, **{n: kept[n] + moves[n] * (many + step) for n in moves}}
            if self._stays(here, mask):
                many += step
            else:
                step //= 2
        self.values = kept
        return many

    def _stays(self, here: int, mask: np.ndarray) -> bool:
        block = self.program.blocks[here]
        self.mask, self.all = mask, True
        for one in block.body:
            if one.op.startswith(("setp.ne", "setp.eq")):  # a counter that is beyond its end has passed it
                sign = np.sign(self._value(one.args[0]) - self._value(one.args[1]))
                known = self.signs.setdefault(one.out[0], sign)
                before = (sign == known) & (known != 0)
                self._put(one.out[0], before if "ne" in one.op else ~before)
            elif one.out and not one.op.startswith("ld.") and one.out[0][0] != "f":
                self._compute(one)
        taken = self._value("%" + block.guard.lstrip("!")) != block.guard.startswith("!")
        return bool(taken[mask].all())

    def _written(self, here: int) -> list[str]:
        return sorted({n for one in self.program.blocks[here].body for n in one.out if n[0] == "r"})

    def _state(self):
        return dict(self.values), self.now.copy(), self.usage.counts(), self.missed

    def _leap(self, times: int, moves, first, last) -> None:
        if not times:
            return
        self.values.update({n: self.values[n] + moves[n] * times for n in moves})
        gone = (last[1] - first[1]) * times
        self.now = self.now + gone
        for name, at in self.ready.items():
            self.ready[name] = at + gone
        self.usage.add((last[2] - first[2]) * times)
        self.missed += (last[3] - first[3]) * times

    # one instruction
    def _instruction(self, one: Instruction, slots: float) -> float:
        """Its issue slots; its result is put down with the time at which it is there."""
        op = one.op
        if op.startswith("bar"):
            self.now = np.where(self.awake, self.start + slots, self.now)
            self._meet(20)
            self.start = self.now - slots
            return 1
        at = self.start + slots
        for name in one.sources:
            if name in self.ready:
                at = np.maximum(at, self.ready[name])
        if op.startswith(("ld.", "st.", "red", "atom")) and not op.startswith("ld.param"):
            return self._memory(one, at)
        many, latency = costs(op)
        if op.startswith(("fma", "add", "sub", "mul")) and op.endswith(".f32"):
            self.usage.float32 += self.awake.sum()
        if op.startswith("mma"):
            self.usage.tensor += self.awake.sum() * multiply_adds(op)
        if one.out:
            if one.out[0][0] != "f":
                self._compute(one)
            self._result(one.out, at + latency)
        return many

    def _result(self, names: Sequence[str], at: np.ndarray) -> None:
        for name in names:
            known = self.ready.get(name)
            self.ready[name] = at if known is None or self.awake.all() else np.where(self.awake, at, known)

    def _put(self, name: str, value: np.ndarray) -> None:
        known = self.values.get(name)
        value = value != 0 if name[0] == "p" else value
        self.values[name] = value if self.all or known is None else np.where(self.mask, value, known)

    def _value(self, text: str) -> np.ndarray:
        if text[0] == "%":
            name = text[1:]
            if name in self.values:
                return self.values[name]
            special = {
                "tid.x": np.arange(self.lanes), "ntid.x": self.launched.threads, "ctaid.x": self.launched.block,
                "nctaid.x": self.launched.blocks,
            }.get(name, 0)  # fmt: skip
            return np.broadcast_to(np.asarray(special, np.int64), self.lanes)
        try:
            return np.broadcast_to(np.int64(int(text, 0)), self.lanes)
        except (ValueError, OverflowError):
            return np.zeros(self.lanes, np.int64)  # the name of shared memory, a number

    def _compute(self, one: Instruction) -> None:
        op, given = one.op.split("."), one.args
        if op[0] == "ld":
            self._put(one.out[0], np.broadcast_to(np.int64(_parameter(given[0], self.launched.chunk)), self.lanes))
        elif op[0] == "setp" and op[2].startswith("f") or any(re.match(r"%f\d", a) for a in given):
            self._put(one.out[0], np.zeros(self.lanes, bool if one.out[0][0] == "p" else np.int64))
        else:
            self._put(one.out[0], OPS[op[0]](op, *map(self._value, given)))

    # memory
    def _memory(self, one: Instruction, at: np.ndarray) -> float:
        op = one.op
        place = next(a for a in one.args if a.startswith("["))
        base, _, more = place.strip("[]").partition("+")
        address = (self._value(base) + int(more or 0))[self.mask]
        warps, width = self.warp_of[self.mask], bytes_of(op)
        if "shared" in op:
            spread, latency = banks(warps, address, width, self.warps), np.full(self.warps, SHARED_LATENCY)
        else:
            spread, latency = self._outside(op, warps, address)
        self.usage.wavefronts += spread.sum()
        if one.out:
            if one.out[0][0] == "r":
                self._put(one.out[0], self._loaded(op, base, more))
            self._result(one.out, at + latency + spread - 1)
        return 1

    def _outside(self, op: str, warps, address) -> tuple[np.ndarray, np.ndarray]:
        """Wavefronts, and latency, of the warps of an access to what lies outside the multiprocessor."""
        if "acquire" in op:
            self.near.clear()
            return np.zeros(self.warps), np.full(self.warps, self.launched.barrier)
        spread, touched, of = sectors(warps, address, self.warps)
        latency = np.full(self.warps, float(NEAR_LATENCY))
        oldest = self.missed - self.launched.near_bytes // SECTOR
        for k, sector in zip(of, touched.tolist()):
            if op.startswith("ld") and self.near.get(sector, -np.inf) >= oldest:
                continue
            latency[k] = L2_LATENCY
            self.usage.l2_bytes += SECTOR
            if op.startswith("ld"):
                self.missed += 1
                self.near[sector] = self.missed
        return spread, latency

    def _loaded(self, op: str, base: str, more: str) -> np.ndarray:
        """What a load of integers finds: of the table of numbers; blocks that are waited for have all arrived."""
        if "acquire" in op:
            return np.full(self.lanes, 1 << 30)
        index = (self._value(base) + int(more or 0) - _parameter_address(3)) // 8
        return self.launched.numbers[np.clip(index, 0, len(self.launched.numbers) - 1)]

    def _meet(self, latency: float) -> None:
        """All threads of the block meet: what all used since they did last may take longer than the slowest warp."""
        began, given = self.since.cycles, self.launched
        slots, floats, wavefronts, l2, tensor = self.usage.counts() - self.since.counts()
        spent = {
            "latency": self.now.max() - began, "issue": slots / 4, "arithmetic": floats * WARP / given.multiply_adds,
            "loads": wavefronts, "L2": l2 / given.l2_bytes, "tensor cores": tensor / given.tensor,
        }  # fmt: skip
        most = max(spent, key=spent.__getitem__)
        self.usage.bound[most] += spent[most] + latency
        self.now = np.full(self.warps, began + spent[most] + latency)
        self.usage.cycles = float(self.now[0])
        self.since = replace(self.usage)


def _parameter_address(array: int) -> int:
    return (array + 1) << 44


def _parameter(text: str, chunk: int) -> int:
    """An entry parameter: the address of an array, or the chunk."""
    index = int(text.rstrip("]").rsplit("_", 1)[1])
    return chunk if index == 5 * ARRAYS else _parameter_address(index // ARRAYS)
