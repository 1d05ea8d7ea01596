"""How fast is training on real sequences against PyTorch, and how good is what is learned?

``python -m benchmarks.japanese_vowels``: a bidirectional GRU of 64 units, last states to a softmax, Adam 3e-3,
batches of 32, 60 epochs, inputs standardised, gradient norm clipped to 1. Both libraries get the same seeds and the
same batches and take turns, an epoch each. PyTorch's `nn.GRU` reads packed sequences, its tensors are made
beforehand, and it runs with the number of threads at which it is faster here. ``--pool 1`` shuffles without regard
to length, as the plain recipe does; ``--pool 8`` is what the trainer does unasked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .common import arguments, table, verdict

UNITS, RATE, BATCH, EPOCHS, CLIP = 64, 3e-3, 32, 60, 1.0
FASTER, ACCURATE = 4.0, 0.975


class Ours:
    """Our side: `Network.loss_and_grad` and the registered Adam."""

    def __init__(self, train: Any, test: Any, seed: int, epochs: int):
        import rnncore as rn
        from rnncore.train import Dataset
        from rnncore.train.components import resolve
        from rnncore.train.optimize import Optimization

        layer = rn.topologies.bidirectional(rn.cells.gru(UNITS))
        self.net = rn.Network(layer, inputs=12, outputs=9, mode="many-to-one")
        self.params = self.net.init(seed=seed)
        self.train = Dataset(train.x, train.y).cast("float32", values=False)
        self.test = Dataset(test.x, test.y)
        self.optimization = Optimization(
            resolve("optimizer", "adam"), resolve("schedule", "constant"), RATE, clip_norm=CLIP,
            total=epochs * -(-len(train) // BATCH), size=self.params.flat.size, dtype=self.params.dtype,
        )  # fmt: skip

    def epoch(self, batches: list[np.ndarray]) -> None:
        for indices in batches:
            x, target, lengths = self.train.batch(indices)
            _, grads = self.net.loss_and_grad(self.params, x, target, loss="cross_entropy", lengths=lengths)
            self.optimization.update(self.params.flat, grads.flat)

    def accuracy(self) -> float:
        from rnncore.train import evaluate

        return evaluate(self.net, self.params, self.test, loss="cross_entropy")["accuracy"]


class Torch:
    """PyTorch's side: `nn.GRU` on packed sequences and its own Adam."""

    def __init__(self, train: Any, test: Any, seed: int, epochs: int):
        import torch

        torch.manual_seed(seed)
        self.gru = torch.nn.GRU(12, UNITS, bidirectional=True)
        self.readout = torch.nn.Linear(2 * UNITS, 9)
        self.weights = [*self.gru.parameters(), *self.readout.parameters()]
        self.adam = torch.optim.Adam(self.weights, RATE)
        self.x, self.tests = ([torch.tensor(s, dtype=torch.float32) for s in d.x] for d in (train, test))
        self.y, self.truth = torch.tensor(train.y), test.y

    def outputs(self, sequences: list) -> Any:
        import torch

        packed = torch.nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False)
        last = self.gru(packed)[1]
        return self.readout(torch.cat([last[0], last[1]], 1))

    def epoch(self, batches: list[np.ndarray]) -> None:
        import torch

        for indices in batches:
            loss = torch.nn.functional.cross_entropy(self.outputs([self.x[i] for i in indices]), self.y[indices])
            self.adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, CLIP)
            self.adam.step()

    def accuracy(self) -> float:
        import torch

        with torch.no_grad():
            return float((self.outputs(self.tests).argmax(1).numpy() == self.truth).mean())


def seconds(function: Callable, *args: Any) -> float:
    """Of one call."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def quicker_threads(train: Any, test: Any, most: int) -> int:
    """The number of threads at which PyTorch's epoch is faster."""
    import torch

    batches = np.array_split(np.arange(len(train)), -(-len(train) // BATCH))
    taken = {}
    for threads in {1, most}:
        torch.set_num_threads(threads)
        side = Torch(train, test, 0, 1)
        taken[threads] = min(seconds(side.epoch, batches) for _ in range(3))
    return min(taken, key=taken.__getitem__)


def run(train: Any, test: Any, seed: int, epochs: int, pool: int) -> tuple[list[float], list[float]]:
    """Seconds and test accuracies of ours and of PyTorch."""
    from rnncore.train import bucketed_batches

    sides = [Ours(train, test, seed, epochs), Torch(train, test, seed, epochs)]
    rng, taken = np.random.default_rng(seed), np.zeros(2)
    for k in range(epochs):
        batches = bucketed_batches(train.lengths, BATCH, rng, pool)
        for i in (k % 2, 1 - k % 2):
            taken[i] += seconds(sides[i].epoch, batches)
    return taken.tolist(), [side.accuracy() for side in sides]


def main() -> None:
    options = arguments(
        __doc__,
        seeds=(5, "Runs; figures are their medians."),
        epochs=(EPOCHS, "Passes over the data; with fewer, accuracy is not judged."),
        pool=(1, "Batches that are sorted by length together."),
    )
    import torch

    import rnncore as rn

    train, test = rn.data.japanese_vowels()
    moments = train.moments()
    train, test = train.standardize(*moments), test.standardize(*moments)
    threads = quicker_threads(train, test, options.threads)
    torch.set_num_threads(threads)
    Ours(train, test, 0, 1).epoch([np.arange(BATCH)])  # kernels are compiled or loaded once
    rows, ratios, accuracies = [], [], []
    for seed in range(options.seeds):
        taken, accuracy = run(train, test, seed, options.epochs, options.pool)
        ratios.append(taken[1] / taken[0])
        accuracies.append(accuracy[0])
        rows.append([seed, *(f"{t:.2f}" for t in taken), f"{ratios[-1]:.2f}", *(f"{a:.4f}" for a in accuracy)])
    print(f"{options.epochs} epochs; threads: ours {options.threads}, PyTorch {torch.__version__} {threads}")
    print(table(("seed", "ours, s", "torch, s", "times faster", "ours, accuracy", "torch, accuracy"), rows))
    ratio, median = float(np.median(ratios)), float(np.median(accuracies))
    print(f"\nmedians: {ratio:.2f} times faster (bar {FASTER}), accuracy {median:.4f} (bar {ACCURATE})")
    missed = [f"{ratio:.2f} times faster; the bar is {FASTER}"] if ratio < FASTER else []
    if options.epochs >= EPOCHS and median < ACCURATE:
        missed.append(f"accuracy {median:.4f}; the bar is {ACCURATE}")
    verdict(options, missed)


if __name__ == "__main__":
    main()
