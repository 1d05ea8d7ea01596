"""How does time grow with threads, batch, units and steps?

``python -m benchmarks.curves --out docs/pictures`` draws the time of a prediction and of a training step, ours and the
libraries' layers, into ``threads.png``, ``batch.png``, ``units.png`` and ``time.png``. The last one also streams up to
a million steps through one network in chunks, the state carried, in a process of its own that tells the most memory it
ever had. The bars: a step of a million takes 1.2 times one of ten thousand, in 64 MiB more than the first chunk.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .common import TURN, TURNS, arguments, case, in_turns, table, verdict
from .machine import described

BASE = (32, 100, 128, 128)
BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
UNITS = [8, 16, 32, 64, 128, 256, 512]
STEPS = [1, 3, 10, 30, 100, 300, 1000, 3000]
LONG = [10_000, 30_000, 100_000, 300_000, 1_000_000]
CHUNK, STREAMED = 1000, (8, 64, 64)  # steps; batch, inputs, units
SLOWER, MORE = 1.2, 64
STREAM = """
import sys, time
import numpy as np, rnncore as rn
def most():  # ru_maxrss would count the process that started this one
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
total, chunk, batch, inputs, units = map(int, sys.argv[1:])
net = rn.Network(rn.cells.lstm(units), inputs=inputs)
run = net.bind(net.init(seed=0))
rng = np.random.default_rng(0)
x, state = rng.standard_normal((batch, chunk, inputs)).astype("float32"), None
run(x)
start, begun = time.perf_counter(), most()
for _ in range(total // chunk):
    y, state = run(x, state=state)
print(time.perf_counter() - start, begun, most())
"""


def sides(shape: tuple, threads: int, peers: list[str]) -> dict[str, dict[str, Callable[[], Any]]]:
    """Calls by library of an LSTM, and of ours for a GRU and a plain network."""
    from .compare import ours
    from .peers import calls

    one = case("lstm", shape)
    found = {"LSTM": ours(one)} | {f"LSTM, {p}": calls(p, one, threads) for p in peers}
    return found | {name: ours(case(cell, shape)) for name, cell in (("GRU", "gru"), ("vanilla", "vanilla"))}


def curve(shapes: list[tuple], rounds: int, threads: int, peers: list[str]) -> dict[str, dict[str, list[float]]]:
    """Seconds over the shapes, by ``infer`` and ``train``, by library."""
    found: dict[str, dict[str, list[float]]] = {"infer": {}, "train": {}}
    for shape in shapes:
        here = sides(shape, threads, peers)
        for what, lines in found.items():
            timed = {k: f[what] for k, f in here.items() if what in f}
            for name, seconds in in_turns(timed, rounds, calls=2, least=TURN).items():
                lines.setdefault(name, []).append(seconds)
    return found


def over_threads(rounds: int) -> tuple[list[int], dict]:
    """Ours with 1 to all processors; the number is read at each call."""
    import os

    before, counts = os.environ["RNNCORE_NUM_THREADS"], list(range(1, (os.cpu_count() or 1) + 1))
    found: dict[str, dict[str, list[float]]] = {"infer": {}, "train": {}}
    try:
        for n in counts:
            os.environ["RNNCORE_NUM_THREADS"] = str(n)
            for what, lines in curve([BASE], rounds, n, []).items():
                for name, seconds in lines.items():
                    found[what].setdefault(name, []).extend(seconds)
    finally:
        os.environ["RNNCORE_NUM_THREADS"] = before
    return counts, found


def streamed() -> list[tuple[int, float, float, float]]:
    """(steps, seconds, MiB that the process had at most before and after) of sequences in chunks."""
    rows = []
    for total in LONG:
        command = [sys.executable, "-c", STREAM, *map(str, (total, CHUNK, *STREAMED))]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append((total, *map(float, out.split())))
    return rows


def draw(axis, xs: list[int], lines: dict[str, list[float]], label: str, title: str, scale: str = "log") -> None:
    for name, seconds in lines.items():
        style = "-o" if "," not in name else ":s"
        axis.plot(xs, [1e3 * s for s in seconds], style, label=name, markersize=4)
    axis.set(xscale=scale, yscale=scale, xlabel=label, ylabel="ms", title=title)
    axis.set_ylim(bottom=0 if scale == "linear" else None)
    axis.set_xticks(xs, [f"{x:,}" for x in xs], rotation=45 if len(xs) > 6 else 0, minor=False)
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="best" if scale == "linear" else "upper left")


def picture(path: Path, xs: list[int], found: dict, label: str, note: str, scale: str = "log") -> None:
    """Two panels: inference and training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axis, what in zip(figure.subplots(1, 2), ("infer", "train")):
        draw(axis, xs, found[what], label, {"infer": "inference", "train": "training step"}[what], scale)
    figure.suptitle(note, fontsize=9)
    figure.savefig(path, dpi=110)


def picture_over_time(path: Path, found: dict, rows: list[tuple], note: str) -> None:
    """Three panels: inference and training over T, and a stream of up to a million steps with its memory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.4), layout="constrained")
    axes = figure.subplots(1, 3)
    draw(axes[0], STEPS, found["infer"], "steps", "inference")
    draw(axes[1], STEPS, found["train"], "steps", "training step")
    totals = [r[0] for r in rows]
    batch, _, units = STREAMED
    draw(axes[2], totals, {"LSTM": [r[1] for r in rows]}, "steps", f"streamed by {CHUNK:,}, B{batch} H{units}")
    linear = [1e3 * rows[0][1] / totals[0] * n for n in totals]
    axes[2].plot(totals, linear, "--", color="gray", label="linear")
    memory = axes[2].twinx()
    memory.plot(totals, [r[3] for r in rows], "-^", color="tab:red", label="most memory of the process")
    memory.set(ylabel="MiB", ylim=(0, 2 * max(r[3] for r in rows)))
    memory.legend(fontsize=8, loc="lower right")
    axes[2].legend(fontsize=8, loc="upper left")
    figure.suptitle(note, fontsize=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    options = arguments(
        __doc__,
        out=("docs/pictures", "Folder of the pictures."),
        rounds=(3, TURNS),
        only=("threads,batch,units,time", "Which pictures."),
        peers=("torch,onnx", "Against whom; nothing: ours alone."),
    )
    out, only = Path(options.out), options.only.split(",")
    peers = [p for p in options.peers.split(",") if p]
    out.mkdir(parents=True, exist_ok=True)
    machine, missed = described(options.threads), []
    batch, steps, inputs, units = BASE
    if "threads" in only:
        counts, found = over_threads(options.rounds)
        picture(out / "threads.png", counts, found, "threads", f"B{batch} T{steps} H{units}; {machine}", "linear")
    if "batch" in only:
        found = curve([(b, steps, inputs, units) for b in BATCHES], options.rounds, options.threads, peers)
        picture(out / "batch.png", BATCHES, found, "batch", f"T{steps} H{units}; {machine}")
    if "units" in only:
        found = curve([(batch, steps, n, n) for n in UNITS], options.rounds, options.threads, peers)
        picture(out / "units.png", UNITS, found, "units", f"B{batch} T{steps}; {machine}")
    if "time" in only:
        found = curve([(batch, n, inputs, units) for n in STEPS], options.rounds, options.threads, peers)
        rows = streamed()
        picture_over_time(out / "time.png", found, rows, f"B{batch} H{units}; {machine}")
        lines = [[f"{n:,}", f"{s:.2f}", f"{1e6 * s / n:.2f}", f"{a:.0f}", f"{b:.0f}"] for n, s, a, b in rows]
        print(table(("steps", "seconds", "µs a step", "MiB before", "MiB at most"), lines))
        slower, more = rows[-1][1] / rows[-1][0] / (rows[0][1] / rows[0][0]), rows[-1][3] - rows[-1][2]
        if slower > SLOWER:
            missed.append(f"a step of {rows[-1][0]:,} takes {slower:.2f} of one of {rows[0][0]:,}; the bar is {SLOWER}")
        if more > MORE:
            missed.append(f"a million steps took {more:.0f} MiB more; the bar is {MORE}")
    print("\n".join(str(out / f"{name}.png") for name in only))
    verdict(options, missed)


if __name__ == "__main__":
    main()
