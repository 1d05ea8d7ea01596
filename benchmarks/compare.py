"""How fast is a layer against PyTorch's, and against the machine?

``python -m benchmarks.compare`` calls both in turns, in one process, with the same number of threads, and prints
medians. Between turns both rest until the other's threads sleep; ``--mixed 1`` calls one right after the other, where
each shares the processors with the other's spinning threads.

*Infer*: a call with weights packed before, against ``torch.inference_mode``. *Forward*: with what BPTT needs.
*Step*: forward and backward, gradients of x and of every weight. The peak of the machine is that of a large float32
matrix product, measured before each row; a share of it counts the products of the equations only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .common import REST, SHAPES, Case, arguments, case, gates, in_turns, named, table, verdict

LIMIT = 0.85
OURS = {"lstm": {}, "gru": {"reset": "after"}, "vanilla": {}}  # the form that PyTorch's layers have
SIDE = 2048
SETTLE = 0.5  # seconds: OpenBLAS spins for much longer than OpenMP


def ours(one: Case) -> dict[str, Callable[[], Any]]:
    """What is timed of ours."""
    bound = one.net.bind(one.params)

    def forward():
        _, _, tape = one.net.forward(one.params, one.x)
        tape.release()

    def step():
        _, _, tape = one.net.forward(one.params, one.x)
        one.net.backward(one.params, tape, one.dy)
        tape.release()

    return {"infer": lambda: bound(one.x), "forward": forward, "step": step}


def torch_layer(cell: str, one: Case) -> dict[str, Callable[[], Any]]:
    """What is timed of PyTorch's layer."""
    import torch

    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "vanilla": torch.nn.RNN}[cell]
    layer = kind(one.x.shape[2], one.dy.shape[2], batch_first=True)
    x, dy = torch.from_numpy(one.x), torch.from_numpy(one.dy)
    traced = x.clone().requires_grad_(True)

    def infer():
        with torch.inference_mode():
            layer(x)

    def step():
        layer.zero_grad()
        traced.grad = None
        layer(traced)[0].backward(dy)

    return {"infer": infer, "forward": lambda: layer(traced), "step": step}


def matmul() -> Callable[[], Any]:
    """A large product, by whichever library is faster at it here."""
    import torch

    a = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype("float32")
    t = torch.from_numpy(a)
    candidates = {"numpy": lambda: a @ a, "torch": lambda: t @ t}
    seconds = in_turns(candidates, 3)
    return candidates[min(seconds, key=seconds.__getitem__)]


def compare(
    cell: str, shape: tuple[int, int, int, int], rounds: int, product: Callable, mixed: bool
) -> tuple[list, dict]:
    """A row of the table, and the ratios by name."""
    one = case(cell, shape, **OURS[cell])
    mine, theirs = ours(one), torch_layer(cell, one)
    timed = {f"{side} {k}": f for k in mine for side, f in (("ours", mine[k]), ("torch", theirs[k]))}
    seconds = in_turns({"matmul": product}, rounds)
    time.sleep(SETTLE)
    seconds |= in_turns(timed, rounds, rest=0.0 if mixed else REST)
    batch, steps, inputs, units = shape
    peak = 2 * SIDE**3 / seconds["matmul"]
    flops = 2 * batch * steps * gates(one) * units * (inputs + units)
    ratio = {k: seconds[f"torch {k}"] / seconds[f"ours {k}"] for k in mine}
    row = [f"{cell} {named(shape)}"]
    for k in mine:
        row += [f"{seconds[f'ours {k}'] * 1e3:.2f}", f"{seconds[f'torch {k}'] * 1e3:.2f}", f"{ratio[k]:.2f}"]
    share = [flops * times / seconds[f"ours {k}"] / peak for k, times in (("infer", 1), ("step", 3))]
    return [*row, *(f"{100 * s:.0f} %" for s in share), f"{peak / 1e9:.0f}"], ratio


def main() -> None:
    options = arguments("Speed against PyTorch and the machine.", rounds=15, cells="lstm,gru,vanilla", mixed=0)
    import torch

    torch.set_num_threads(options.threads)
    product, rows, missed = matmul(), [], []
    for cell in options.cells.split(","):
        for shape in SHAPES[2:]:
            row, ratio = compare(cell, shape, options.rounds, product, bool(options.mixed))
            rows.append(row)
            if cell == "lstm":
                slow = [k for k in ("infer", "step") if ratio[k] < LIMIT]
                missed += [f"{row[0]} {k}: {ratio[k]:.2f} of PyTorch's speed; the bar is {LIMIT}" for k in slow]
    print(f"milliseconds, medians of {options.rounds}, {options.threads} threads, PyTorch {torch.__version__}")
    columns = [f"{k}{what}" for k in ("infer", "forward", "step") for what in ("", ", torch", ", ratio")]
    print(table(("layer", *columns, "infer/peak", "step/peak", "peak Gflop/s"), rows))
    verdict(options, missed)


if __name__ == "__main__":
    main()
