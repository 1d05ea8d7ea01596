"""Trains in a child that kills itself at a random point, again and again, until one child reaches the end.

Run as a script: prints as JSON how often a child died, where, and what the last one came to.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import safetensors.numpy  # noqa: F401  (once here rather than in every child)
import scipy.optimize  # noqa: F401
from fake import FakeNetwork

from rnncore.train import Dataset, Trainer, files

EVENTS = {"left": -1}


def event(name, log):
    """One more point at which the process may die."""
    EVENTS["left"] -= 1
    if EVENTS["left"] == 0:
        os.write(log, f"{name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """A file that may lose its process in the middle of a write."""

    def __init__(self, file, log):
        self._file, self._log = file, log

    def write(self, data):
        event("before writing", self._log)
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        event("half written", self._log)
        self._file.write(data[len(data) // 2 :])

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *exc):
        return self._file.__exit__(*exc)

    def __getattr__(self, name):
        return getattr(self._file, name)


def arm(log):
    """Make updates and every part of an atomic write points of death."""
    replace, step = os.replace, FakeNetwork.loss_and_grad
    files.open = lambda *a: Dying(open(*a), log)  # type: ignore[attr-defined]

    def dying_replace(a, b):
        event("before the rename", log)
        replace(a, b)
        event("after the rename", log)

    def dying_step(*a, **k):
        event("in a batch", log)
        return step(*a, **k)

    os.replace, FakeNetwork.loss_and_grad = dying_replace, dying_step


def train(folder, optimizer, every, resume):
    """The run in question; its result lies in ``result``."""
    rng = np.random.default_rng(3)
    lengths, classes = rng.integers(0, 9, 30), rng.integers(0, 2, 30)
    x = [rng.standard_normal((n, 3)) + k for n, k in zip(lengths, classes, strict=True)]
    data = Dataset(x, classes)
    trainer = Trainer(
        FakeNetwork(), loss="cross_entropy", optimizer=optimizer, schedule="cosine", learning_rate=0.05,
        epochs=4, batch_size=7, bucket=2, checkpoint=folder / "checkpoint",
        checkpoint_updates=every, progress=False,
    )  # fmt: skip
    result = trainer.fit(data[:22], data[22:], resume=resume)
    records = [{k: v for k, v in r.items() if "second" not in k} for r in result.history]
    EVENTS["left"] = -1
    facts = {"history": records, "best_epoch": result.best_epoch, "updates": result.updates}
    write_result(result, folder, {**facts, "stopped": result.stopped})


def write_result(result, folder, facts):
    """Parameters as hexadecimal text with the other facts: equal texts are equal bits."""
    text = json.dumps({**facts, "params": result.params.flat.tobytes().hex()}, sort_keys=True)
    files.write_atomically(folder / "result", text.encode())


def main(folder, optimizer, every, seed):
    folder, chance = Path(folder), random.Random(int(seed))
    every = int(every) or None
    log, deaths = os.open(folder / "deaths", os.O_CREAT | os.O_WRONLY | os.O_APPEND), 0
    while True:
        EVENTS["left"] = chance.randint(1, 10 + 3 * deaths)  # each may get further than the last
        child = os.fork()
        if child == 0:
            arm(log)
            train(folder, optimizer, every, resume=True)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status):
            break
        deaths += 1
    where = sorted(set((folder / "deaths").read_text().split("\n")[:-1]))
    print(json.dumps({"exit": os.WEXITSTATUS(status), "deaths": deaths, "where": where}))


if __name__ == "__main__":
    main(*sys.argv[1:])
