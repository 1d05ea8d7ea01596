"""Do gates remember what a plain recurrent network cannot?

``python -m benchmarks.long_memory`` trains on fresh data, update by update, and measures on data never seen.

Adding problem (Hochreiter and Schmidhuber, Neural Computation 9, 1997), T = 200: each step brings a number from U(0, 1)
and a mark, which is 1 at one step of each half and 0 elsewhere; asked for at the end is the sum of the two marked
numbers. Who remembers nothing answers 1, and is off by 1/6 in mean square.

Copying problem (Hochreiter and Schmidhuber 1997; as in Arjovsky, Shah and Bengio, ICML 2016), T = 100: ten symbols of
eight, T - 1 blanks, a signal, ten blanks; asked for are T + 10 blanks, then the ten symbols. Who remembers nothing
pays 10 log 8 / (T + 20) in cross-entropy.

The LSTM and the GRU start with `chrono` (Tallec and Ollivier, ICLR 2018), the vanilla network from Glorot's matrices
(Glorot and Bengio, AISTATS 2010). On a problem all have as many units and learn from the same data, by Adam with the
gradient's norm clipped to 1; the rate falls to a tenth for the last fifth. The bars: with gates, a mean squared error
below 0.01, and a tenth of the baseline's cross-entropy; without, neither. ``--picture FILE`` draws the learning curves,
and what the gradient of the last output comes to on its way back to each step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .common import arguments, table, verdict

BATCH, CLIP = 32, 1.0
CELLS = {"lstm": "i", "gru": "z", "vanilla": None}  # with the gate that admits
BLANK, SIGNAL, SYMBOLS, LENGTH = 0, 9, 8, 10
TESTS = 1000  # sequences never seen


def adding(rng: np.random.Generator, batch: int, time: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Numbers with marks (batch, time, 2), and the sums of the marked (batch, 1)."""
    x = np.zeros((batch, time, 2), np.float32)
    x[..., 0] = rng.random((batch, time))
    rows, target = np.arange(batch), np.zeros((batch, 1), np.float32)
    for first, last in ((0, time // 2), (time // 2, time)):
        at = rng.integers(first, last, batch)
        x[rows, at, 1] = 1
        target[:, 0] += x[rows, at, 0]
    return x, target


def copying(rng: np.random.Generator, batch: int, blanks: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (batch, blanks + 20), and what is to be said at each step."""
    symbols = rng.integers(1, SYMBOLS + 1, (batch, LENGTH))
    x = np.full((batch, blanks + 2 * LENGTH), BLANK)
    target = x.copy()
    x[:, :LENGTH], x[:, -LENGTH - 1], target[:, -LENGTH:] = symbols, SIGNAL, symbols
    return x, target


@dataclass(frozen=True)
class Task:
    """A problem: its data, its network's size and options, how long and how fast it is learned, and what is asked."""

    data: Callable
    units: int
    options: dict[str, Any]
    loss: str
    steps: int
    updates: int
    rate: float
    baseline: float
    bar: float


def tasks() -> dict[str, Task]:
    """The two problems."""
    import rnncore as rn

    tokens = {"inputs": rn.Tokens(SYMBOLS + 2), "outputs": SYMBOLS + 1}
    numbers = {"inputs": 2, "outputs": 1, "mode": "many-to-one"}
    memoryless = LENGTH * math.log(SYMBOLS) / (100 + 2 * LENGTH)
    return {
        "adding, T = 200": Task(adding, 64, numbers, "mean_squared", 200, 1500, 0.005, 1 / 6, 0.01),
        "copying, T = 100": Task(copying, 128, tokens, "cross_entropy", 120, 6000, 0.01, memoryless, memoryless / 10),
    }


def start(task: Task, cell: str, seed: int) -> tuple[Any, Any]:
    """The network of a cell and its initial parameters."""
    import rnncore as rn

    net = rn.Network(rn.cells[cell](task.units), **task.options)
    if CELLS[cell] is None:
        return net, net.init(seed=seed, recurrent="glorot_uniform")
    return net, net.init(seed=seed, bias=rn.initializers.chrono(t_max=task.steps, input=CELLS[cell]))


@dataclass
class Learned:
    """What a run came to: loss on data never seen, parameters, loss of each update, seconds."""

    loss: float
    params: Any
    curve: np.ndarray
    seconds: float


def learn(task: Task, cell: str, updates: int, seed: int) -> Learned:
    """Train on fresh batches, the same ones for every cell."""
    import rnncore as rn
    from rnncore.train.optimize import Optimization

    net, params = start(task, cell, seed)
    optimization = Optimization(
        rn.optimizers.adam(), rn.schedules.step(at=(0.8,)), task.rate, clip_norm=CLIP, total=updates,
        size=params.flat.size, dtype=params.dtype,
    )  # fmt: skip
    rng, curve, begun = np.random.default_rng([seed, 1]), np.zeros(updates), time.perf_counter()
    for k in range(updates):
        x, target = task.data(rng, BATCH)
        curve[k], grads = net.loss_and_grad(params, x, target, loss=task.loss)
        optimization.update(params.flat, grads.flat)
    seconds = time.perf_counter() - begun
    x, target = task.data(np.random.default_rng([seed, 2]), TESTS)
    return Learned(net.loss(params, x, target, loss=task.loss), params, curve, seconds)


def fading(net: Any, params: Any, x: np.ndarray) -> np.ndarray:
    """Norm of the gradient of the last output with respect to the whole state at each step; 1 at the last."""
    import rnncore as rn

    found = rn.diagnose(net, params, x, at=1, exponents=0)
    norm = np.sqrt(sum(found.over_time(state) ** 2 for state in net.state_shapes))
    return norm / norm[-1]


def picture(path: str, found: dict[tuple[str, str], Learned], seed: int) -> None:
    """Learning curves above, fading gradients below, a column for each problem."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    for column, (name, task) in enumerate(tasks().items()):
        above, below = axes[:, column]
        x, _ = task.data(np.random.default_rng([seed, 3]), BATCH)
        for k, cell in enumerate(CELLS):
            curve, (net, params) = found[name, cell].curve, start(task, cell, seed)
            window = max(1, min(50, len(curve) // 10))
            smooth = np.convolve(curve, np.ones(window) / window, "valid")
            above.semilogy(np.arange(window, len(curve) + 1), smooth, color=f"C{k}", label=cell)
            below.semilogy(fading(net, params, x), color=f"C{k}", label=f"{cell}, as it starts")
            below.semilogy(fading(net, found[name, cell].params, x), color=f"C{k}", ls=":", label="as it ends")
        above.axhline(task.baseline, color="0.5", ls="--", label="without memory")
        above.axhline(task.bar, color="0.5", ls=":", label="bar")
        above.set(title=name, xlabel="update", ylabel=task.loss.replace("_", " "))
        below.set(xlabel="step", ylabel="gradient of the last output", title="on its way back to each step's state")
        below.set_ylim(bottom=max(below.get_ylim()[0], 1e-16))
        above.legend()
        below.legend(ncols=3, fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> None:
    options = arguments(
        __doc__,
        updates=(0, "Updates of each run; 0: as many as its problem takes."),
        seed=(0, "The same seed, the same numbers."),
        picture=("", "A .png file to draw the learning curves into."),
    )
    rows, missed, found = [], [], {}
    for name, task in tasks().items():
        updates = options.updates or task.updates
        for cell, gate in CELLS.items():
            run = found[name, cell] = learn(task, cell, updates, options.seed)
            rows.append([
                f"{name}: {cell}", updates, f"{run.seconds:.0f}", f"{run.loss:.5f}", f"{task.bar:.5f}",
                f"{task.baseline:.5f}", f"{run.loss / task.baseline:.3f}",
            ])  # fmt: skip
            print(f"{name}: {cell} comes to {run.loss:.5f} after {updates} updates, {run.seconds:.0f} s", flush=True)
            if (run.loss < task.bar) != (gate is not None):
                missed.append(f"{name}: {cell} comes to {run.loss:.5f}, {'above' if gate else 'below'} {task.bar:.5f}")
    print("\n" + table(("", "updates", "s", "loss", "bar", "no memory", "of it"), rows))
    if options.picture:
        picture(options.picture, found, options.seed)
    verdict(options, missed)


if __name__ == "__main__":
    main()
