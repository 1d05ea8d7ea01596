"""What a network is compared with: each module makes the calls of one library for a case.

``calls(one, threads)`` gives ``{"infer": f, "train": g}``, or less where the library lacks a form. The library gets
the case's own weights and its sequences in the order that it likes best, time first. ``infer`` returns the
outputs, (time, batch, units); ``train`` runs forward and backward and returns the gradient of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from ..common import Case

__all__ = ["PEERS", "agree", "calls", "stacked", "versions"]

PEERS = {"torch": "pytorch", "onnx": "onnx_runtime", "jax": "jax_scan"}  # by the name of the package, roughly


def calls(peer: str, one: Case, threads: int) -> dict[str, Callable[[], Any]]:
    """The calls of a library; none where it has no layer of this kind."""
    return import_module(f".{PEERS[peer]}", __package__).calls(one, threads)


def versions(peers) -> str:
    """The libraries and their versions."""
    from importlib.metadata import version

    package = {"torch": "torch", "onnx": "onnxruntime", "jax": "jax"}
    return ", ".join(f"{package[p]} {version(package[p])}" for p in peers)


def stacked(params: Mapping[str, np.ndarray], prefix: str, gates: str, signs=None) -> np.ndarray:
    """Arrays of several gates, one below the other; a sign of -1 gives the gate that is one minus ours."""
    signs = signs or (1,) * len(gates)
    return np.concatenate([s * params[prefix + g] for g, s in zip(gates, signs, strict=True)])


def agree(mine: Mapping[str, Callable], theirs: Mapping[str, Callable], bound: float) -> None:
    """Stop where a library computes something else than we do: its time would mean nothing."""
    for what in mine.keys() & theirs.keys():
        want, got = np.asarray(mine[what]()), np.asarray(theirs[what]())
        got = got.reshape(got.shape[0], *want.shape[0::2]).swapaxes(0, 1)
        far = np.abs(got - want).max() / np.abs(want).max()
        if not far < bound:
            raise SystemExit(f"{what}: results differ by {far:.2g} of the largest value; at most {bound} is rounding")
