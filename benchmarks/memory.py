"""How much memory does a training step take, against what backpropagation has to keep?

What has to be kept is counted from the plan of the cell: the columns saved at every step and the history of
states, without padding. It is held against the tape, and against what a step holds at once: the peak of all
that a forward and a backward pass allocate (tracemalloc, which NumPy reports to), less what the caller asked
for (y, dx, states, gradients) and the one copy of the weights in the layout of the products.
``python -m benchmarks.memory`` prints the table.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

from .common import CELLS, SHAPES, Case, case

LIMIT = 1.25


def kept_bytes(one: Case) -> int:
    """Bytes that the reverse pass of a case reads from the forward pass."""
    from rnncore.plan.kernels import plan_of

    batch, steps = one.x.shape[:2]
    total = 0
    for _, layer, sizes in one.net.block.walk("", one.net.sizes):
        plan = plan_of(layer.step, "forward")

        def numbers(dims, sizes=sizes):
            return sum(d if isinstance(d, int) else sizes[d] for d in dims)

        total += batch * steps * numbers(plan.saved.values())
        total += batch * (steps + 1) * numbers(plan.states[s] for s in plan.history)
    return total * one.x.itemsize


def result_bytes(results: Any) -> int:
    """Bytes of the arrays in nested results."""
    if hasattr(results, "flat") and hasattr(results, "shapes"):
        return results.flat.nbytes
    if isinstance(results, dict):
        return sum(map(result_bytes, results.values()))
    if isinstance(results, tuple):
        return sum(map(result_bytes, results))
    return getattr(results, "nbytes", 0)


def step(one: Case) -> tuple[Any, int]:
    """A training step: what the caller gets, and bytes of the tape."""
    y, state, tape = one.net.forward(one.params, one.x)
    nbytes = tape.nbytes
    results = one.net.backward(one.params, tape, one.dy)
    tape.release()
    return (y, state, *results), nbytes


def peak(function: Callable[[], Any]) -> tuple[Any, int]:
    """The function's result, and the most bytes that it held at once, from memory that was all given back."""
    from rnncore.cpu import memory

    memory._renew()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = function()
        return result, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


class TrainingStep:
    """Bytes of a training step by cell and shape."""

    params = (CELLS, SHAPES)
    param_names = ("cell", "batch, time, inputs, units")
    version = "1"
    unit = "bytes"

    def setup(self, cell, shape):
        self.case = case(cell, shape)
        step(self.case)

    def track_tape(self, cell, shape):
        return step(self.case)[1]

    def track_peak(self, cell, shape):
        return peak(lambda: step(self.case))[1]

    def peakmem_process(self, cell, shape):
        step(self.case)


def main() -> None:
    from .common import arguments, named, table, verdict

    options = arguments(__doc__)
    rows, missed = [], []
    for cell in CELLS:
        for shape in SHAPES[2:]:
            one = case(cell, shape)
            step(one)
            (results, tape), most = peak(lambda one=one: step(one))
            kept, held = kept_bytes(one), most - result_bytes(results) - one.params.flat.nbytes
            name, ratio = f"{cell} {named(shape)}", held / kept
            rows.append([
                name, *(f"{n / 2**20:.2f}" for n in (kept, tape, held, most)), f"{tape / kept:.2f}", f"{ratio:.2f}"
            ])  # fmt: skip
            if cell == "lstm" and ratio > LIMIT:
                missed.append(f"{name}: {ratio:.2f} times what has to be kept; the bar is {LIMIT}")
    print(table(("MiB", "to keep", "tape", "held", "peak", "tape/to keep", "held/to keep"), rows))
    verdict(options, missed)


if __name__ == "__main__":
    main()
