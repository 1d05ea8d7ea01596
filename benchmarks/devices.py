"""What devices can do at most, and the least time that a network's call can take on one.

Figures: NVIDIA H100 Tensor Core GPU Architecture (2022) and H200's data sheet, NVIDIA A100 Tensor Core GPU Architecture
(2020; the L2 cache's bytes a cycle are A100's, none were published since); what ``mma.sync`` reaches of Hopper's tensor
cores: Luo et al. 2024, arXiv:2402.13499. The time of a barrier of all blocks is an
estimate where no device runs `measured_barrier`: an atomic addition and a read that sees it, both through the L2 cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["DEVICES", "Device", "Work", "at_hand", "floor", "measured_barrier", "step_floor", "work"]

BARRIERS = 1000  # of a probe


@dataclass(frozen=True)
class Device:
    """A device's figures; those of a multiprocessor are for one cycle."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    clock: float  # Hz, at most
    multiply_adds: dict[str, float]  # of a multiprocessor, by precision: tensor cores for tf32 and bf16
    shared_bytes: int  # that a block can have
    near_bytes: int  # of a multiprocessor's cache and shared memory together
    shared_rate: float  # bytes of shared memory
    l2_rate: float  # bytes of the L2 cache, of all multiprocessors together
    l2_bytes: int
    memory_rate: float  # bytes a second
    memory_bytes: int
    barrier: float = 1.1e-6  # s for all blocks to meet
    sync: float = 2.5e-8  # s for the threads of a block to meet
    warps_share: float = 1.0  # of the tensor cores' rate that the instructions of a warp reach

    def rate(self, precision: str) -> float:
        """Multiply-adds a second of the whole device."""
        return self.multiprocessors * self.clock * self.multiply_adds[precision]

    @property
    def l2_share(self) -> float:
        """Bytes that a multiprocessor has of the L2 cache in a cycle while all read: 64 at most."""
        return min(64.0, self.l2_rate / self.multiprocessors)

    def properties(self) -> Any:
        """As the engine sees it."""
        from rnncore.cuda.target import Properties

        given = self.name, self.capability, self.multiprocessors, self.shared_bytes, 1024, self.memory_bytes, 32
        return Properties(*given)


HOPPER = {"float32": 128.0, "tf32": 1024.0, "bf16": 2048.0}
AMPERE = {"float32": 64.0, "tf32": 512.0, "bf16": 1024.0}
H100 = Device("H100", (9, 0), 132, 1.98e9, HOPPER, 227 << 10, 256 << 10, 128, 5120, 50 << 20, 3.35e12, 80 << 30,
              warps_share=0.63)  # fmt: skip
DEVICES = [
    replace(H100, name="H200", memory_rate=4.8e12, memory_bytes=141 << 30),
    H100,
    Device("A100", (8, 0), 108, 1.41e9, AMPERE, 163 << 10, 192 << 10, 128, 5120, 40 << 20, 2.04e12, 80 << 30),
]


def at_hand() -> Device | None:
    """The device of this machine with the figures of its kind; None where there is none that can be used."""
    from rnncore.cuda import target

    if target.simulated or target.missing() is not None:
        return None
    seen = target.properties()
    like = next((d for d in DEVICES if d.name in seen.name), None)
    like = like or next((d for d in DEVICES if d.capability[0] == seen.capability[0]), DEVICES[0])
    return replace(like, name=seen.name, capability=seen.capability, multiprocessors=seen.multiprocessors,
                   shared_bytes=seen.shared_bytes, memory_bytes=seen.memory_bytes)  # fmt: skip


PROBE = """\
from rnncore.cuda.device import arrive_and_wait, blocks, entry


@entry("float32")
def kernel(tape, weights, memory, numbers, counters, chunk):
    for k in range(chunk):
        arrive_and_wait(counters, 0, (k + 1) * blocks())
    return
"""


def measured_barrier(seconds: Callable[[Callable[[], Any]], float]) -> float:
    """Time of a barrier of all blocks of the device; `seconds` takes the time of a call."""
    from rnncore.cuda import target
    from rnncore.cuda.space import xp

    device, loaded = target.properties(), target.load(PROBE)
    numbers, floats = xp.zeros(1, np.int64), xp.zeros(1, np.float32)

    def call(many: int) -> None:
        counters = xp.zeros(1, np.int32)
        arrays = [floats, floats, floats, numbers, counters, many]
        loaded.launch(device.multiprocessors, 256, 0, arrays, True)

    return (seconds(lambda: call(2 * BARRIERS)) - seconds(lambda: call(BARRIERS))) / BARRIERS


@dataclass(frozen=True)
class Work:
    """What a layer's call has to do, for one sequence and step."""

    loop: int  # multiply-adds of products that wait for the step before
    outside: int  # those of products of all steps
    weights: int  # numbers of the loop's matrices
    stages: int  # products that wait for one another in a step
    moved: int  # numbers that come from the device's memory or go there


def work(net: Any, what: str) -> list[Work]:
    """The work of inference, or of training: forward, then backward, where every weight's gradient is a product too."""
    from rnncore.lang.graph import topological
    from rnncore.plan.kernels import plan_of

    ((layer, sizes),) = net.loops.values()

    def number(dim: Any) -> int:
        return dim if isinstance(dim, int) else sizes[dim]

    def multiply_adds(products) -> int:
        return sum(number(v.shape[0]) * number(s.dim) for p in products for v in p.operands for s in p.slots)

    step = layer.step
    features = sum(number(step.dims[n]) for n in step.inputs), number(step.output.shape[0])
    found = []
    for which in ("infer",) if what == "infer" else ("forward", "backward"):
        plan = plan_of(step, which)
        loop = multiply_adds([p for wave in plan.waves for p in wave])
        outside = multiply_adds([*plan.hoisted, *plan.post])
        if which == "backward":
            products = [n for n in topological(list(step.roots.values())) if n.op in ("matmul", "matmul_t")]
            outside += sum(int(np.prod([number(d) for d in n.args[0].shape])) for n in products)
        kept = 0 if which == "infer" else sum(map(number, plan.saved.values()))
        found.append(Work(loop, outside, loop, sum(map(bool, plan.waves)), sum(features) + kept))
    return found


def step_floor(part: Work, batch: float, device: Device, precision: str = "float32") -> tuple[float, str]:
    """The least time of a step of `batch` sequences, and what bounds it: arithmetic, memory, the L2 cache, or waiting.

    Blocks that have a slice of the batch each and all weights never wait for one another, but have one multiprocessor
    each; those that share out the units use the whole device and meet once for every stage.
    """
    item = 2 if precision == "bf16" else 4
    memory, held, one = batch * part.moved * item / device.memory_rate, part.weights * item, device.multiprocessors
    alone = {
        "arithmetic": max(1.0, batch / one) * part.loop / (device.rate(precision) / one), "memory": memory,
        "waiting": 2 * part.stages * device.sync, "L2": max(0, held - device.shared_bytes) / (64 * device.clock),
    }  # fmt: skip
    together = {
        "arithmetic": batch * part.loop / device.rate(precision), "memory": memory,
        "waiting": part.stages * device.barrier,
        "L2": max(0, held - one * device.shared_bytes) / (device.l2_rate * device.clock),
    }  # fmt: skip
    form = min(alone, together, key=lambda form: max(form.values()))
    bound = max(form, key=form.__getitem__)
    return form[bound], bound


def floor(parts: list[Work], batch: float, steps: int, device: Device, precision: str = "float32") -> float:
    """The least time of a call: its steps one after another, and products of all steps at the device's rate."""
    outside = sum(batch * part.outside / device.rate(precision) for part in parts)
    return steps * (outside + sum(step_floor(part, batch, device, precision)[0] for part in parts))
