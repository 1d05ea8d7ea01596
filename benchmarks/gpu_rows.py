"""The rows of the GPU's table: cells, sizes, and what is built for each."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .common import Case

__all__ = [
    "BRIEF", "CELLS", "CUSTOM", "EVERY", "PRECISIONS", "RAGGED", "WHAT", "drawn", "named_cell", "network", "one_of",
    "persistent",
]  # fmt: skip

Shape = tuple[int, int, int, int]  # batch, time, inputs, units

CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {}), "gru": ("gru", {"reset": "after"}), "gru-before": ("gru", {"reset": "before"}),
    "vanilla": ("vanilla", {}), "mgu": ("mgu", {}), "lem": ("lem", {}), "cornn": ("cornn", {}),
}  # fmt: skip
CUSTOM = ("mgu", "lem", "cornn")  # of `benchmarks.peers.custom`
UNITS, BATCHES, STEPS = (64, 128, 256, 512, 1024, 2048), (1, 16, 64, 256), (100, 1000)
PUBLISHED: Shape = (16, 1024, 768, 768)
EVERY: list[Shape] = [PUBLISHED, *((b, t, h, h) for t in STEPS for h in UNITS for b in BATCHES)]
BRIEF: list[Shape] = [PUBLISHED, (1, 1000, 512, 512), (64, 1000, 128, 128), (16, 100, 512, 512), (256, 100, 512, 512)]
BRIEF += [(b, 100, h, h) for h in UNITS for b in (1, 64)]
RAGGED: list[Shape] = [(64, 100, h, h) for h in (128, 512)]
WHAT = ("infer", "train")
PRECISIONS = ("float32", "tf32", "bf16")


def network(cell: str, units: int) -> Any:
    """The layer of a row, without parameters."""
    import rnncore as rn

    from .peers.custom import CUSTOM as OWN

    name, options = CELLS[cell]
    return rn.Network((OWN[name].cell if cell in CUSTOM else rn.cells[name])(units, **options), inputs=units)


def named_cell(cell: str) -> str:
    """A cell with its options, as `benchmarks.peers` know it."""
    name, options = CELLS[cell]
    return ", ".join([name, *(f"{k} {v}" for k, v in options.items())])


def one_of(cell: str, shape: Shape) -> Case:
    """The case of a row, on the host. Biases are no zeros, and weights so small that errors do not grow with time."""
    net, (x, dy) = network(cell, shape[3]), _numbers(shape)
    params = net.init(seed=0)
    params.flat[:] = np.random.default_rng(1).standard_normal(params.flat.size) * min(0.05, 0.5 / shape[3] ** 0.5)
    return Case(net, params, x, dy, named_cell(cell))


@lru_cache(maxsize=1)
def _numbers(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    batch, steps, inputs, units = shape
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((batch, steps, n), np.float32) for n in (inputs, units))
    return x, dy


def drawn(shape: Shape) -> np.ndarray:
    """Lengths of a ragged batch, uniform in 1..T."""
    return np.random.default_rng(0).integers(1, shape[1] + 1, shape[0])


def persistent(cell: str, shape: Shape, what: str) -> bool:
    """Whether cuDNN runs a persistent kernel in fp16: PyTorch's rules from sm_80 on (native/cudnn/RNN.cpp)."""
    batch, _, inputs, units = shape
    if cell not in ("lstm", "gru", "vanilla"):
        return False
    small = {"vanilla": (384, 256)}.get(cell, (192, 128))[what == "train"]
    fits = units <= 1024 and not (units % 128 or inputs % 128 or batch % 8) and batch <= 128
    whole = cell == "lstm" or cell == "vanilla" and (batch < 96 or units < 896)
    return units <= small or fits and whole
