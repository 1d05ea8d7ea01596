"""PyTorch's own layers: `nn.LSTM`, `nn.GRU` (its reset comes after the product), `nn.RNN`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..common import Case
from . import stacked

# our name: (their module, order of their gates, sign of each: their z is one minus ours)
KINDS = {
    "lstm": ("LSTM", "ifgo", (1, 1, 1, 1)),
    "gru, reset after": ("GRU", "rzn", (1, -1, 1)),
    "vanilla": ("RNN", "h", (1,)),
}


def layer(one: Case):
    """Their module with our weights."""
    import torch

    kind, gates, signs = KINDS[one.cell]
    made = getattr(torch.nn, kind)(one.x.shape[2], one.dy.shape[2], dtype=getattr(torch, str(one.x.dtype)))
    arrays = {"weight_ih_l0": stacked(one.params, "W_x", gates, signs)}
    arrays["weight_hh_l0"] = stacked(one.params, "W_h", gates, signs)
    arrays["bias_ih_l0"], arrays["bias_hh_l0"] = biases(one, gates, signs)
    with torch.no_grad():
        for name, value in arrays.items():
            getattr(made, name).copy_(torch.from_numpy(value))
    return made


def biases(one: Case, gates: str, signs) -> tuple[np.ndarray, np.ndarray]:
    """The biases of the input's and of the state's products; only a GRU's candidate has both."""
    zero = np.zeros(one.dy.shape[2], one.x.dtype)
    of_x = [s * one.params.get(f"b_{g}", one.params.get(f"b_x{g}")) for g, s in zip(gates, signs, strict=True)]
    of_h = [s * one.params.get(f"b_h{g}", zero) if len(gates) == 3 else zero for g, s in zip(gates, signs, strict=True)]
    return np.concatenate(of_x), np.concatenate(of_h)


def calls(one: Case, threads: int) -> dict[str, Callable[[], Any]]:
    if one.cell not in KINDS:
        return {}
    import torch

    torch.set_num_threads(threads)
    return layer_calls(one)


def layer_calls(one: Case, device: str = "cpu", dtype: Any = None, lengths: Any = None) -> dict[str, Callable[[], Any]]:
    """``infer`` and ``train`` of their module on a device, in a precision; of packed sequences if there are lengths."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    made = layer(one).to(device, dtype)
    x, dy = (torch.from_numpy(np.ascontiguousarray(v.swapaxes(0, 1))).to(device, dtype) for v in (one.x, one.dy))
    traced = x.clone().requires_grad_(True)
    counts = None if lengths is None else torch.from_numpy(lengths)

    def run(x):
        if counts is None:
            return made(x)[0]
        packed = pack_padded_sequence(x, counts, enforce_sorted=False)
        return pad_packed_sequence(made(packed)[0], total_length=len(x))[0]

    def infer():
        with torch.inference_mode():
            return run(x)

    def train():
        made.zero_grad()
        traced.grad = None
        run(traced).backward(dy)
        return traced.grad

    return {"infer": infer, "train": train}
