"""From a plan to the text of one CUDA kernel: the whole loop over a chunk of time.

The grid is slices of the batch times members: the blocks of a slice share out the units, each with its own columns of
every product, and meet at a barrier wherever one reads what another wrote. A slice of one block needs none of these.
"""

from __future__ import annotations

import re

from ..lang.ops import OPS
from ..plan.model import Plan
from .drawing import drawing
from .product import head_of_products, stage_weights
from .region import Barriers, emit_wave
from .tensor import copy_carried, head_of_copies, turns
from .writer import ANEW, FUNCTION, Kernel, Tiling, Writer

__all__ = ["emit"]


def emit(plan: Plan, dtype: str, tiling: Tiling, pretty: bool = False, fast: bool = False) -> Kernel:
    """Write the kernel of `plan` for `dtype`.

    With `pretty` it carries the author's names and lines, for reading; without, its text depends
    on the structure alone, so that cells of one structure share one compiled kernel. With
    `fast`, functions of float32 numbers are the device's approximations (`rnncore.cuda.fast`).
    """
    w = Writer(plan, dtype, tiling, pretty)
    _head(w)
    head, w.lines = w.lines, []
    _steps(w)
    steps, w.lines = _sizes_anew(w), []
    head_of_copies(w)
    stage_weights(w)
    head_of_products(w)
    w.kernel.text = _module(w, [*head, *w.lines, *steps], fast)
    return w.kernel


def _sizes_anew(w: Writer) -> list[str]:
    """The lines under way, sizes of rows made new where they are marked: see `ANEW`."""
    sizes = [line.split()[0] for line in w.head if re.match(r"wide\d+ = ", line)]
    lines = []
    for line in w.lines:
        lines += [line.replace(ANEW, f"{v} = anew({v})") for v in sizes] if ANEW in line else [line]
    return lines


def _head(w: Writer) -> None:
    for name in ("members", "slices", "batch", "tile", "room"):
        w.size(name)
    w.head += [
        "slice_ = quotient(block(), s_members)",
        "member = block() - slice_ * s_members",
        "b0 = portion(slice_, s_batch, s_slices)",
        "b1 = portion(slice_ + 1, s_batch, s_slices)",
    ]


def _steps(w: Writer) -> None:
    """The loop over time; where a step's rows lie follows from how many sequences each has, known a step ahead."""
    plan = w.plan
    counts, offsets = w.pointer("counts"), w.pointer("offsets")
    w.put(f"t0 = uniform(numbers[{w.pointer('starts')} + chunk])")
    w.put(f"t1 = uniform(numbers[{w.pointer('starts')} + chunk + 1])")
    w.put(f"r0 = numbers[{offsets} + t0]")
    w.put("target = 0")
    w.put(f"t = {'t1 - 1' if plan.reverse else 't0'}")
    w.put(f"active = uniform(numbers[{counts} + t])")
    w.put(f"r_shift = numbers[{offsets} + t]")
    w.put("earlier = 0")
    w.put("if t > 0:")
    w.put(f"    earlier = uniform(numbers[{counts} + t - 1])")
    copy_carried(w, lambda step: _shifts(w, step))
    w.block("while t >= t0:" if plan.reverse else "while t < t1:")
    w.put("coming = 0")
    if plan.reverse:
        w.put("if t > 1:")
        w.put(f"    coming = uniform(numbers[{counts} + t - 2])")
    else:
        w.put("if t + 1 < t1:")
        w.put(f"    coming = uniform(numbers[{counts} + t + 1])")
    w.put("rows = min(active, b1) - b0")
    w.block("if rows > 0:")
    w.put(ANEW)
    _shifts(w, "t")
    barriers = Barriers(w)
    for index, products in enumerate(plan.waves):
        emit_wave(w, index, products, barriers)
    w.end()
    if plan.reverse:
        w.put("r_shift -= earlier")
        w.put("active, earlier = earlier, coming")
        w.put("t -= 1")
    else:
        w.put("r_shift += active")
        w.put("active, earlier = coming, active")
        w.put("t += 1")
    w.end()


def _shifts(w: Writer, t: str) -> None:
    """Where the rows of a step lie."""
    w.put("w_shift = r_shift - r0")
    w.put("next_shift = s_batch + r_shift")
    w.put("prev_shift = s_batch + r_shift - earlier")
    w.put(f"if {t} == 0:")
    w.put("    prev_shift = 0")
    odd, even = (f"({t} + 1) % 2", f"{t} % 2") if w.plan.reverse else (f"{t} % 2", f"({t} + 1) % 2")
    w.put(f"before_shift = {odd} * s_batch")
    w.put(f"after_shift = {even} * s_batch")
    turns(w, t)


def _table(w: Writer) -> list[str]:
    """The head, its variables read from the table of numbers: pointers first, then sizes."""
    lines = []
    for line in w.head:
        for names, prefix, first in ((w.kernel.pointers, "p_", 0), (w.kernel.sizes, "s_", len(w.kernel.pointers))):
            variables = {prefix + "".join(c if c.isalnum() else "_" for c in n): k for k, n in enumerate(names)}
            if line in variables:
                number = f"numbers[{first + variables[line]}]"
                line = f"{line} = {number if prefix == 'p_' else f'uniform({number})'}"
                break
        lines.append(line)
    return lines


def _module(w: Writer, body: list[str], fast: bool) -> str:
    helpers = drawing(w.dtype) if any(n.op == "draw" for n in w.plan.nests) else ""
    text = "\n".join([*body, helpers])
    ops = sorted(FUNCTION.get(o, o) for o, row in OPS.items() if row.pointwise)
    ops = [name for name in ops if re.search(rf"\b{name}\(", text)]
    kind = w.tiling.tensor
    head = [
        "from rnncore.cuda.device import WARP, anew, arrive_and_wait, block, entry, float32, float64, function",
        "from rnncore.cuda.device import functions, lane_term, lane_terms4, load, portion, quotient, set_own_sums",
        "from rnncore.cuda.device import set_sums, shared, store, sync, term, terms4, thread, threads, uniform",
        "from rnncore.cuda.device import warp_max, warp_sum",
        *([f"from rnncore.cuda.device import store_{kind}"] if kind else []),
        *([f"from rnncore.cuda.tiles import tile_{kind}"] if kind else []),
        "",
        f'F = functions("{w.dtype}"{", fast=True" if fast else ""})',
        *[f"{name} = F.{name}" for name in ops],
        *helpers.splitlines(),
        "",
        "",
        f'@entry("{w.dtype}")',
        "def kernel(tape, weights, memory, numbers, counters, chunk):",
        f'    shm = shared({w.dtype})',
        "    tid, width = thread(), threads()",
        "    lane, warp, warps = tid % WARP, uniform(tid // WARP), width // WARP",
    ]
    return "\n".join([*head, *["    " + line for line in _table(w)], *body, "    return", ""])
