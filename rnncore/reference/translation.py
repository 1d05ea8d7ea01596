"""An encoder and a decoder, as one would write them down: the same equations, the same order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..combine.blocks import Loop
from ..combine.translate import KEYS, VALUES, Translate, bridge_paths

__all__ = ["Written", "translate", "translate_backward"]


@dataclass
class Written:
    """What a decoder writes: lengths (batch,), steps, inputs of teacher forcing (batch, time, size), states given."""

    lengths: np.ndarray
    time: int
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    given: frozenset[str] = frozenset()


def translate(run, block: Translate, prefix: str, xs, sizes):
    """Output (batch, time, features), the final output, and what `translate_backward` needs."""
    written = run.writing
    values, _, encoder = run.forward(block.encoder, f"{prefix}encoder.", xs, sizes)
    sources, keys = {VALUES: values}, None
    if block.keys is not None:
        sources[KEYS + "k0"], _, keys = run.forward(block.keys, prefix + KEYS, {"x": values}, {"x": values.shape[2]})
    state, ends = dict(run.state), dict(run.final)
    for path, _, found in block.handed(prefix, sizes):
        if path not in written.given:
            state[path] = np.concatenate([ends[p] for p, _ in found], 1)
            if block.bridge == "affine":
                matrix, bias = bridge_paths(prefix, path)
                state[path] = state[path] @ run.params[matrix].T + run.params[bias]
    writer = type(run)(run.params, written.lengths, state)
    writer.sources, writer.source_lengths = sources, run.lengths
    given = {**sizes, **{name: v.shape[2] for name, v in {**sources, **written.arrays}.items()}}
    layer: Any = block.decoder.layer
    loop = Loop(layer.teaching) if written.arrays else block.decoder
    y, last, decoder = writer.loop(loop, prefix, written.arrays, given, written.time)
    run.final |= writer.final
    return y, last, (block, sizes, ends, encoder, keys, decoder, writer)


def translate_backward(run, prefix: str, dy, tape, dfinal):
    """Adjoint of each input sequence."""
    block, sizes, ends, encoder, keys, decoder, writer = tape
    writer.dsources = {name: np.zeros_like(v) for name, v in writer.sources.items()}
    writer.loop_backward(prefix, dy, np.zeros((len(dy), dy.shape[2])), decoder, dfinal)
    run.grads |= writer.grads
    dfinal = dict(dfinal)
    for path, _, found in block.handed(prefix, sizes):
        if path in run.writing.given:
            continue
        d, at = writer.dstate.pop(path), 0
        if block.bridge == "affine":
            end = np.concatenate([ends[p] for p, _ in found], 1)
            matrix, bias = bridge_paths(prefix, path)
            run.grads[matrix], run.grads[bias] = d.T @ end, d.sum(0)
            d = d @ run.params[matrix]
        for p, n in found:
            dfinal[p] = dfinal[p] + d[:, at : at + n]
            at += n
    run.dstate |= writer.dstate
    dvalues = writer.dsources[VALUES]
    if keys is not None:
        dkeys = writer.dsources[KEYS + "k0"]
        dvalues = dvalues + run.backward(block.keys, prefix + KEYS, dkeys, np.zeros(dkeys[:, 0].shape), keys, {})["x"]
    nothing = np.zeros((len(dvalues), dvalues.shape[2]))
    return run.backward(block.encoder, f"{prefix}encoder.", dvalues, nothing, encoder, dfinal)
