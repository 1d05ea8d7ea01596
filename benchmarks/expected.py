"""How long would the kernels' steps take, by their own code? For devices that are not there.

Each kernel that a training step would launch is compiled, and its PTX run for one block with the addresses of the
launch (`benchmarks.kernels`): a model of the machine, which no device has confirmed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from .devices import Device
from .kernels.launches import Recorded, launches
from .kernels.ptx import parsed
from .kernels.running import run
from .kernels.usage import Launched, Usage

__all__ = ["Expected", "expected"]

STEPS = 2  # the difference between as many steps and twice as many is taken
OWN = 1 << 10  # bytes of shared memory that a device keeps for itself
LEAST_NEAR = 16 << 10


@dataclass(frozen=True)
class Expected:
    """A kernel's step, and what its code takes of a device."""

    seconds: float
    bound: str  # what most of it is spent on: issue slots, arithmetic, the load unit, the L2 cache, latency
    slices: int
    members: int
    resident: bool  # whether all weights stay in shared memory
    tensor: bool  # whether tensor cores multiply
    registers: int
    spills: int  # bytes
    float64: int  # instructions

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@lru_cache(maxsize=512)
def _compiled(text: str, capability: tuple[int, int]):
    from rnncore.cuda.loaded import code_of

    report = code_of(text, capability)
    return report, parsed(report.ptx)


_found: dict[tuple, Expected] = {}


def expected(net: Any, batch: int, device: Device, precision: str = "float32") -> dict[str, Expected]:
    """The step of a layer's kernels, ``forward`` and ``backward``, on a device."""
    products = "" if precision == "float32" else precision
    found = {}
    for which, one in launches(net, batch, device.properties(), products).items():
        key = one.text, one.numbers.tobytes(), one.blocks, device.name
        if key not in _found:
            _found[key] = _expected(one, device, precision)
        found[which] = _found[key]
    return found


def _expected(one: Recorded, device: Device, precision: str) -> Expected:
    report, program = _compiled(one.text, device.capability)

    def used(steps: int) -> Usage:
        numbers, at = one.numbers.copy(), one.number("p_starts") + one.chunk
        numbers[at : at + 2] = 0, steps
        near = max(device.near_bytes - one.shared_bytes - OWN, LEAST_NEAR)
        last, barrier = one.blocks - 1, device.barrier * device.clock
        rates = device.multiply_adds["float32"], device.l2_share
        tensor = device.warps_share * device.multiply_adds[precision]
        given = numbers, one.chunk, last, one.blocks, one.threads, barrier, *rates, near, tensor
        return run(program, Launched(*given))

    step, spills = used(2 * STEPS).minus(used(STEPS), STEPS), report.spill_stores + report.spill_loads
    return Expected(
        seconds=step.cycles / device.clock, bound=max(step.bound, key=step.bound.__getitem__),
        slices=one.number("s_slices"), members=one.number("s_members"), resident=one.resident,
        tensor="mma.sync" in report.ptx, registers=report.registers, spills=spills,
        float64=report.float64_instructions,
    )  # fmt: skip
