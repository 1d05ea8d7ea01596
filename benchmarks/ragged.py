"""Does a ragged batch cost what it holds?

``python -m benchmarks.ragged``: 64 sequences with lengths uniform in 1..100, against the same batch with every sequence
full, and against PyTorch's layers on packed sequences, the packing of padded ones and the padding of the results
included, as ours takes and gives padded ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import TURN, TURNS, Case, arguments, case, in_turns, named, table, verdict
from .compare import WHAT
from .machine import described

SHAPE = (64, 100, 128, 128)
CELLS: list[tuple[str, dict[str, Any]]] = [("lstm", {}), ("gru", {"reset": "after"}), ("vanilla", {})]
BAR = 0.65


def drawn() -> np.ndarray:
    """Lengths of the sequences, uniform in 1..T."""
    return np.random.default_rng(0).integers(1, SHAPE[1] + 1, SHAPE[0])


def ours(one: Case, lengths: np.ndarray | None) -> dict[str, Callable[[], Any]]:
    bound = one.net.bind(one.params)

    def train():
        _, _, tape = one.net.forward(one.params, one.x, lengths=lengths)
        one.net.backward(one.params, tape, one.dy)
        tape.release()

    return {"infer": lambda: bound(one.x, lengths=lengths), "train": train}


def packed(one: Case, lengths: np.ndarray, threads: int) -> dict[str, Callable[[], Any]]:
    """PyTorch's layer on packed sequences."""
    import torch

    from .peers.pytorch import layer_calls

    torch.set_num_threads(threads)
    return layer_calls(one, lengths=lengths)


class Ragged:
    """A batch with lengths uniform in 1..T, and a full one."""

    params = (["lstm", "gru"], ["infer", "train"], ["ragged", "full"])
    param_names = ("cell", "what", "batch")
    version = "1"

    def setup(self, cell, what, batch):
        self.call = ours(case(cell, SHAPE), drawn() if batch == "ragged" else None)[what]
        self.call()

    def time_call(self, cell, what, batch):
        self.call()


def main() -> None:
    options = arguments(__doc__, rounds=(9, TURNS))
    from .peers import versions

    lengths, rows, missed = drawn(), [], []
    for cell, given in CELLS:
        one = case(cell, SHAPE, **given)
        sides = {"full": ours(one, None), "ragged": ours(one, lengths), "packed": packed(one, lengths, options.threads)}
        for what in WHAT:
            seconds = in_turns({k: f[what] for k, f in sides.items()}, options.rounds, least=TURN)
            share, faster = seconds["ragged"] / seconds["full"], seconds["packed"] / seconds["ragged"]
            name = f"{one.cell} {what}"
            rows.append([name, *(f"{1e3 * s:.2f}" for s in seconds.values()), f"{share:.2f}", f"{faster:.2f}"])
            if share > BAR:
                missed.append(f"{name}: {share:.2f} of the full batch's time; the bar is {BAR}")
    held = lengths.mean() / SHAPE[1]
    print(f"{named(SHAPE)}, {held:.2f} of a full batch; {described(options.threads, versions(['torch']))}")
    print(table(("milliseconds", "full", "ragged", "PyTorch, packed", "ragged/full", "PyTorch/ours"), rows))
    verdict(options, missed)


if __name__ == "__main__":
    main()
