"""How long until the first result: ``import rnncore``, and a new process's first training step?

``python -m benchmarks.startup`` measures whole processes, from their start to their end, with the cache of
kernels cold and warm.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import numpy as np

IMPORT = "import rnncore"
FIRST_STEP = """
import numpy as np, rnncore as rn
net = rn.Network(rn.cells.lstm(64), inputs=12, outputs=9, mode="many-to-one")
params = net.init(seed=0)
net.loss_and_grad(params, np.ones((32, 20, 12)), np.zeros(32, int), loss="cross_entropy")
"""
EMPTY_CACHE = """
import os, tempfile
folder = tempfile.TemporaryDirectory()
os.environ["RNNCORE_CACHE_DIR"] = folder.name
"""
WARM, COLD = 1.0, 6.0  # seconds of a process with kernels on disk, and without


class Import:
    """Seconds of an import in a new process."""

    version = "1"
    number, repeat = 1, 5

    def timeraw_rnncore(self):
        return IMPORT

    def timeraw_train(self):
        return "import rnncore.train"

    def timeraw_command(self):
        return "import rnncore.cli.app"


class FirstStep:
    """Seconds to the first training step in a new process: imports, kernels, the step itself."""

    version = "2"
    number, repeat, timeout = 1, 3, 300

    def setup(self):
        subprocess.run([sys.executable, "-c", FIRST_STEP], check=True)

    def timeraw_warm(self):
        return FIRST_STEP

    def timeraw_cold(self):
        return EMPTY_CACHE + FIRST_STEP


def _import_seconds() -> float:
    code = "import time; t = time.perf_counter(); import rnncore; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def _process_seconds(code: str, cache: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "RNNCORE_CACHE_DIR": cache})
    return time.perf_counter() - start


def main() -> None:
    from .common import PROCESSES, arguments, table, verdict

    options = arguments(__doc__, rounds=(7, PROCESSES))
    imports = float(np.median([_import_seconds() for _ in range(options.rounds)]))
    with tempfile.TemporaryDirectory() as cache:
        cold = _process_seconds(FIRST_STEP, cache)
        warm = float(np.median([_process_seconds(FIRST_STEP, cache) for _ in range(options.rounds)]))
    print(table(("seconds", "median", "bar"), [
        ("import rnncore", f"{imports:.3f}", "0.35"),
        ("process with an LSTM's training step, kernels on disk", f"{warm:.2f}", f"{WARM}"),
        ("the same, every kernel compiled", f"{cold:.2f}", f"{COLD}"),
    ]))  # fmt: skip
    bars = {
        f"import {imports:.3f} s": imports > 0.35,
        f"first training step {warm:.2f} s": warm > WARM,
        f"first training step of a new cell {cold:.2f} s": cold > COLD,
    }
    verdict(options, [text for text, over in bars.items() if over])


if __name__ == "__main__":
    main()
