"""How much memory does gradient checkpointing save on a long sequence, and what does it cost?

``python -m benchmarks.checkpointing`` trains T = 10,000 steps with everything saved, and with the states of every k-th
step. Memory is the peak of all that a forward and a backward pass allocate (tracemalloc, which NumPy reports to), less
what the caller asked for (y, dx, states, gradients); x and dy are there before. Times are medians of training steps
taken in turns. The bar, for the LSTM with k = 100, the root of T: a tenth of the memory, 1.5 times the time.
"""

from __future__ import annotations

from .common import CELLS, TURNS, Case, arguments, case, in_turns, named, table, verdict
from .memory import peak, result_bytes

SHAPE = (8, 10_000, 64, 128)
EVERY = [30, 100, 300, 1000]
JUDGED = ("lstm", 100)
MEMORY, TIME = 1 / 10, 1.5


def step(one: Case, checkpoint: int | None):
    """A training step: what the caller gets, and bytes of the tape."""
    y, state, tape = one.net.forward(one.params, one.x, checkpoint=checkpoint)
    nbytes = tape.nbytes
    results = one.net.backward(one.params, tape, one.dy)
    tape.release()
    return (y, state, *results), nbytes


class Checkpointing:
    """A training step over a long sequence, by steps between the states that are kept (0: everything is)."""

    params = [0, *EVERY]
    param_names = ["checkpoint"]
    version = "1"

    def setup(self, every):
        self.every = every or None
        self.case = case("lstm", (8, 2_000, 64, 128))
        step(self.case, self.every)

    def time_step(self, every):
        step(self.case, self.every)

    def track_peak(self, every):
        return peak(lambda: step(self.case, self.every))[1]

    track_peak.unit = "bytes"


def held(one: Case, checkpoint: int | None) -> tuple[int, int]:
    """(bytes of the tape, bytes that a training step holds at most beyond what the caller gets)."""
    (results, tape), most = peak(lambda: step(one, checkpoint))
    return tape, most - result_bytes(results)


def main() -> None:
    options = arguments(
        __doc__,
        cell=(JUDGED[0], f"The layer's cell, of {', '.join(CELLS)}."),
        time=(SHAPE[1], "Steps of the sequences."),
        rounds=(5, TURNS),
    )
    if options.cell not in CELLS:
        raise SystemExit(f"--cell must be one of {', '.join(CELLS)}, got {options.cell}")
    shape = (SHAPE[0], options.time, *SHAPE[2:])
    one = case(options.cell, shape)
    choices = {"everything": None} | {f"k = {k}": k for k in EVERY}
    for every in choices.values():
        step(one, every)
    memory = {name: held(one, every) for name, every in choices.items()}
    taken = in_turns(
        {name: lambda every=every: step(one, every) for name, every in choices.items()}, options.rounds, calls=1
    )
    rows, missed = [], []
    for name, every in choices.items():
        tape, most = memory[name]
        share, slower = most / memory["everything"][1], taken[name] / taken["everything"]
        figures = (f"{tape / 2**20:.2f}", f"{most / 2**20:.2f}", f"{share:.3f}", f"{1e3 * taken[name]:.0f}")
        rows.append([name, *figures, f"{slower:.2f}"])
        if (options.cell, every) == JUDGED and share > MEMORY:
            missed.append(f"{name}: {share:.3f} of the memory; the bar is {MEMORY}")
        if (options.cell, every) == JUDGED and slower > TIME:
            missed.append(f"{name}: {slower:.2f} times the time; the bar is {TIME}")
    print(f"{options.cell} {named(shape)}, float32, {options.threads} threads")
    print(table(("keeps", "tape MiB", "held MiB", "of all", "ms", "times"), rows))
    verdict(options, missed)


if __name__ == "__main__":
    main()
