"""Calls on a GPU, ours and PyTorch's, timed by CUDA events: rows of `benchmarks.gpu`."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from .common import Case, named
from .devices import Device, floor, measured_barrier, work
from .gpu_rows import CUSTOM, drawn, one_of, persistent

__all__ = ["in_turns_on_device", "measured", "ours", "rows_of", "seconds_of"]

PLACE = "cuda"  # of PyTorch's tensors
TURN = 0.01  # seconds of a turn at least
AGREE = {"float32": 1e-3, "tf32": 2e-2, "bf16": 1e-1}  # of the largest value
Calls = Mapping[str, Callable[[], Any]]


def measured(options: argparse.Namespace, device: Device) -> tuple[str, Iterator[dict]]:
    """The machine, and its rows one after another, for as long as ``options.minutes``; those left out are counted."""
    if find_spec("torch") is None:
        raise SystemExit("PyTorch for CUDA is not installed: pip install torch")
    import torch

    from .gpu_kernels import compiled_ahead

    if not torch.cuda.is_available():
        raise SystemExit(f"PyTorch {torch.__version__} finds no GPU: install the one for CUDA")
    end = time.monotonic() + 60 * options.minutes
    compiled_ahead(options, device)
    device = replace(device, barrier=measured_barrier(seconds_of))
    versions = f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    machine = f"{device.name}, a barrier {1e6 * device.barrier:.2f} µs, {versions}, {time.strftime('%Y-%m-%d')}"
    return machine, _rows(options, device, end)


def _rows(options: argparse.Namespace, device: Device, end: float) -> Iterator[dict]:
    cases = [(shape, None) for shape in options.shapes] + [(shape, drawn(shape)) for shape in options.ragged]
    todo = [(shape, lengths, cell) for shape, lengths in cases for cell in options.cells]
    left = 0
    for shape, lengths, cell in todo:
        if time.monotonic() > end:
            left += 1
        else:
            yield from rows_of(cell, shape, lengths, options, device)
    if left:
        print(f"{left} of {len(todo)} cells and shapes were left out after {options.minutes} minutes")


def rows_of(
    cell: str, shape: tuple[int, int, int, int], lengths: np.ndarray | None, options: argparse.Namespace, device: Device
) -> Iterator[dict]:
    """The rows of a cell and a shape: seconds by column, and the floor. Of what fails, why; the others go on."""
    one = one_of(cell, shape)
    for precision in options.precisions:
        for what in options.what:
            row = {"cell": cell, "what": what, "shape": named(shape), "precision": precision}
            row |= {"ragged": lengths is not None}
            held = shape[0] if lengths is None else float(lengths.sum()) / shape[1]
            try:
                timed = _timed(one, cell, shape, lengths, precision, what, precision == options.precisions[-1])
                least = floor(work(one.net, what), held, shape[1], device, precision)
                yield row | {"seconds": in_turns_on_device(timed, options.rounds), "floor": least}
            except (MemoryError, RuntimeError) as error:  # PyTorch's and the driver's errors are RuntimeErrors
                yield row | {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
            timed = {}
            _give_back()


def _timed(one: Case, cell: str, shape, lengths, precision: str, what: str, fp16: bool) -> dict[str, Callable]:
    """What is timed of a row by column, after all agreed."""
    mine, sides = ours(one, lengths, precision), theirs(one, cell, lengths, precision)
    for calls in sides.values():
        _agree(mine[what], calls[what], AGREE[precision])
    if fp16 and "torch" in sides and lengths is None and persistent(cell, shape, what):
        sides["fp16"] = layers(one, "float16", None)
    return {"ours": mine[what]} | {name: calls[what] for name, calls in sides.items()}


def ours(one: Case, lengths: np.ndarray | None, precision: str) -> dict[str, Callable[[], Any]]:
    """What is timed of ours, of arrays on the device."""
    import torch

    params = one.params.to("cuda", products="exact" if precision == "float32" else precision)
    x, dy = (torch.from_numpy(v).to(PLACE) for v in (one.x, one.dy))
    bound = one.net.bind(params)

    def train():
        _, _, tape = one.net.forward(params, x, lengths=lengths)
        dx, _, _ = one.net.backward(params, tape, dy)
        tape.release()
        return dx

    return {"infer": lambda: bound(x, lengths=lengths)[0], "train": train}


def theirs(one: Case, cell: str, lengths: np.ndarray | None, precision: str) -> dict[str, Calls]:
    """PyTorch's calls in the row's precision, by column: its layers, or its loop in Python."""
    import torch

    from .peers.custom import CUSTOM as OWN
    from .peers.custom import in_torch
    from .peers.pytorch import KINDS

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    kind = "bfloat16" if precision == "bf16" else "float32"
    if cell in CUSTOM:
        threads = torch.get_num_threads()
        return {"loop": in_torch(OWN[cell], one, threads, PLACE, getattr(torch, kind))} if lengths is None else {}
    return {"torch": layers(one, kind, lengths)} if one.cell in KINDS else {}


def layers(one: Case, kind: str, lengths: np.ndarray | None) -> Calls:
    """Calls of PyTorch's own layer, with cuDNN."""
    import torch

    from .peers.pytorch import layer_calls

    return layer_calls(one, PLACE, getattr(torch, kind), lengths)


def _agree(mine: Callable, other: Callable, bound: float) -> None:
    """Refuse a row where PyTorch computes something else than we do: its time would mean nothing."""
    import torch

    want, got = torch.as_tensor(mine()).float(), other().detach().float().swapaxes(0, 1)
    far = float((got - want).abs().max() / want.abs().max())
    if not far < bound:
        raise RuntimeError(f"results differ by {far:.2g} of the largest value; at most {bound} is rounding")


# time
def seconds_of(call: Callable[[], Any], calls: int = 1) -> float:
    """Time of a call between two events of the current stream."""
    import torch

    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls):
        call()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) / 1e3 / calls


def in_turns_on_device(functions: Calls, rounds: int) -> dict[str, float]:
    """Median seconds of each function, called in turns. A turn is as many calls as last `TURN`."""
    many = {}
    for name, function in functions.items():
        function()
        many[name] = max(1, int(TURN / max(seconds_of(function, 2), 1e-6)))
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for k in range(rounds + 1):
        for name, function in functions.items():
            seconds = seconds_of(function, many[name])
            taken[name] += [seconds] * bool(k)
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def _give_back() -> None:
    """Memory that PyTorch and CuPy keep for themselves."""
    import torch

    from rnncore.cuda import target
    from rnncore.cuda.space import xp

    gc.collect()
    torch.cuda.empty_cache()
    if not target.simulated:
        xp.get_default_memory_pool().free_all_blocks()
