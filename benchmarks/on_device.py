"""Calls on a GPU, ours and PyTorch's, timed by CUDA events: rows of `benchmarks.gpu`."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .common import Case, named
from .devices import Device, floor, work
from .peers import agree

__all__ = ["in_turns_on_device", "offered", "rows_of", "seconds_of", "versions"]

TURN = 0.02  # seconds of a turn at least
AGREE = {"float32": 1e-3, "tf32": 2e-2, "bf16": 1e-1}  # of the largest value


def offered() -> list[str]:
    """The precisions that the engine has."""
    from inspect import signature

    import rnncore as rn

    return ["float32", *(["tf32", "bf16"] if "products" in signature(rn.Params.to).parameters else [])]


def versions() -> str:
    """PyTorch's and cuDNN's."""
    import torch

    return f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"


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


def in_turns_on_device(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
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


def ours(one: Case, lengths: np.ndarray | None, precision: str) -> dict[str, Callable[[], Any]]:
    """What is timed of ours, of arrays on the device."""
    import torch

    params = one.params.to("cuda", **({} if precision == "float32" else {"products": precision}))
    x, dy = (torch.from_numpy(v).cuda() for v in (one.x, one.dy))
    bound = one.net.bind(params)

    def train():
        _, _, tape = one.net.forward(params, x, lengths=lengths)
        dx, _, _ = one.net.backward(params, tape, dy)
        tape.release()
        return dx

    return {"infer": lambda: bound(x, lengths=lengths)[0], "train": train}


def theirs(one: Case, cell: str, lengths: np.ndarray | None, precision: str) -> dict[str, dict[str, Callable[[], Any]]]:
    """PyTorch's calls, by column: its layers in the row's precision and in fp16, or its loop in Python."""
    import torch

    from .gpu import CUSTOM
    from .peers.custom import CUSTOM as OWN
    from .peers.custom import in_torch
    from .peers.pytorch import KINDS, layer_calls

    kind = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}[precision]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if cell in CUSTOM:
        return {"loop": in_torch(OWN[cell], one, 1, "cuda", kind)} if lengths is None else {}
    if one.cell not in KINDS:
        return {}
    found = {"torch": layer_calls(one, "cuda", kind, lengths)}
    if lengths is None:
        found["fp16"] = layer_calls(one, "cuda", torch.float16)
    return found


def rows_of(
    cell: str, shape: tuple, precision: str, lengths: np.ndarray | None, options: argparse.Namespace, device: Device
) -> list[dict]:
    """The rows of a cell, a shape and a precision: seconds by column, and the floor."""
    import torch

    from .gpu import one_of, persistent

    one = one_of(cell, shape)
    mine = ours(one, lengths, precision)
    sides = theirs(one, cell, lengths, precision)
    for name, calls in sides.items():
        if name != "fp16" and lengths is None:
            agree(_on_host(mine), _on_host(calls), AGREE[precision])
    held = shape[0] if lengths is None else float(lengths.sum()) / shape[1]
    rows = []
    for what in options.what:
        timed = {"ours": mine[what]} | {k: f[what] for k, f in sides.items()}
        if not persistent(cell, shape, what):
            timed.pop("fp16", None)
        least = floor(work(one.net, what), held, shape[1], device, precision)
        rows.append({
            "cell": cell, "what": what, "shape": named(shape), "precision": precision, "ragged": lengths is not None,
            "seconds": in_turns_on_device(timed, options.rounds), "floor": least,
        })  # fmt: skip
    del one, mine, sides
    gc.collect()
    torch.cuda.empty_cache()
    return rows


def _on_host(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Callable[[], np.ndarray]]:
    def fetched(call: Callable[[], Any]) -> Callable[[], np.ndarray]:
        return lambda: call().detach().float().cpu().numpy()

    return {name: fetched(call) for name, call in calls.items()}
