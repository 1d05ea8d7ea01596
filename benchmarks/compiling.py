"""How long until a cell that was never compiled has made a training step, and one whose kernels are on disk?

``python -m benchmarks.compiling``: whole processes for every cell of `CELLS`, and for a user's own, in float32. The
bars: an LSTM's first step from nothing in 6 s, a process that finds its kernels 1 s, and no kernel more for another
batch, length or number of units.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from .common import CELLS, PROCESSES, arguments, table, verdict

STEP = """
import numpy as np, rnncore as rn
from pathlib import Path
import os

@rn.lang.cell
def own(w, x, h):
    z = rn.lang.sigmoid(w.z(x, h))
    return z * h + (1 - z) * rn.lang.tanh(w.n(x, h))

def step(batch, steps, units):
    make = own if "{cell}" == "own" else rn.cells["{cell}"]
    net = rn.Network(make(units), inputs=units)
    params, x = net.init(seed=0), np.ones((batch, steps, units), "float32")
    y, _, tape = net.forward(params, x)
    net.backward(params, tape, np.ones_like(y))

def kernels():
    return len(list(Path(os.environ["RNNCORE_CACHE_DIR"]).rglob("*.py")))

step(32, 20, 64)
"""
MORE = """
before = kernels()
for shape in ((1, 30, 24), (5, 7, 100), (64, 3, 33)):
    step(*shape)
print(kernels() - before)
"""
COLD, WARM = 6.0, 1.0
NAMES = [*CELLS, "own"]


def process(cell: str, cache: str, more: str = "") -> tuple[float, str]:
    """Seconds of a process that makes a training step, and what it printed."""
    start = time.perf_counter()
    code = STEP.replace("{cell}", cell) + more
    environment = {**os.environ, "RNNCORE_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True)
    return time.perf_counter() - start, done.stdout


class Compiling:
    params = (NAMES,)
    param_names = ("cell",)
    version = "1"
    timeout = 300

    def track_cold(self, cell):
        with tempfile.TemporaryDirectory() as cache:
            return process(cell, cache)[0]

    def track_warm(self, cell):
        with tempfile.TemporaryDirectory() as cache:
            process(cell, cache)
            return float(np.median([process(cell, cache)[0] for _ in range(3)]))

    def track_more_kernels(self, cell):
        with tempfile.TemporaryDirectory() as cache:
            return int(process(cell, cache, MORE)[1])

    track_cold.unit = track_warm.unit = "s"
    track_more_kernels.unit = "kernels"


def main() -> None:
    options = arguments(__doc__, rounds=(5, PROCESSES))
    rows, missed = [], []
    for cell in NAMES:
        with tempfile.TemporaryDirectory() as cache:
            cold = process(cell, cache)[0]
            warm = float(np.median([process(cell, cache)[0] for _ in range(options.rounds)]))
            more = int(process(cell, cache, MORE)[1])
        rows.append([cell, f"{cold:.2f}", f"{warm:.2f}", more])
        if cell == "lstm" and cold > COLD:
            missed.append(f"{cell}: {cold:.2f} s from nothing; the bar is {COLD}")
        if warm > WARM:
            missed.append(f"{cell}: {warm:.2f} s with kernels on disk; the bar is {WARM}")
        if more:
            missed.append(f"{cell}: {more} more kernels for other batches, lengths and units; there should be none")
    print(table(("process with a first training step", "cold, s", "warm, s", "kernels for other sizes"), rows))
    verdict(options, missed)


if __name__ == "__main__":
    main()
