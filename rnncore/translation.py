"""Sequence to sequence, run and differentiated: an encoder's pass, what it hands over, a decoder's pass."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from .combine.translate import KEYS, VALUES, Translate
from .cpu import memory
from .cpu.dense import affine, affine_backward
from .kept import Kept
from .layout import Rows, Sources, layout_of

__all__ = ["encode", "translate", "translate_back"]


def translate(pass_, block: Translate, prefix: str, xs, rows: Rows, sizes, out):
    """Run encoder, keys and decoder; (None, the tape's part)."""
    writer, ends, inner = encode(pass_, block, prefix, xs, rows, sizes)
    lesson = pass_.batch.lesson
    own = Rows(pass_.batch.writing.base, 1)
    _, decoder = writer.run(block.decoder, prefix, {} if lesson is None else lesson.arrays, own, sizes, out, False)
    kept = {"prefix": prefix, "sizes": sizes, "writer": writer, "ends": ends, "out": None if out is None else out[2]}
    return None, Kept(block, [part for part in (*inner, decoder) if part is not None], kept)


def encode(pass_, block: Translate, prefix: str, xs, rows: Rows, sizes):
    """Run encoder and keys: the pass of the decoder, the encoder's final states, the tape's parts."""
    width, own = block.encoder.features(sizes), pass_.ragged()
    xs = {name: xs[name] for name in pass_.batch.arrays}  # what teaches the decoder is not the encoder's
    values = memory.empty((pass_.total, width), pass_.dtype)
    _, encoder = pass_.run(block.encoder, f"{prefix}encoder.", xs, rows, sizes, (values, 0, own), False)
    arrays, keys = {VALUES: values}, None
    if block.keys is not None:
        scored = memory.empty((pass_.total, block.keys.features({"x": width})), pass_.dtype)
        to = (scored, 0, own)
        _, keys = pass_.run(block.keys, prefix + KEYS, {"x": values}, own, {"x": width}, to, False)
        arrays[KEYS + "k0"] = scored
    ends = dict(pass_.final)
    handed = _hand_over(pass_, block, prefix, sizes, ends)
    return _writer(pass_, handed, Sources(arrays, own.base, pass_.lengths)), ends, (encoder, keys)


def _hand_over(pass_, block: Translate, prefix: str, sizes, ends) -> dict[str, np.ndarray]:
    """Initial states of the decoder that the encoder gives and the caller does not."""
    given, handed = pass_.batch.state or {}, {}
    for path, _, found in block.handed(prefix, sizes):
        if path not in given:
            end = np.concatenate([ends[p] for p, _ in found], 1)
            handed[path] = end if block.bridge == "copy" else affine(end, *_bridge(pass_.params, prefix, path))
    return handed


def _bridge(arrays, prefix: str, path: str) -> tuple[np.ndarray, np.ndarray]:
    name = path.rpartition(".")[2]
    return arrays[f"{prefix}bridge.W_{name}"], arrays[f"{prefix}bridge.b_{name}"]


def _writer(pass_, handed, sources: Sources):
    """The pass of the decoder: over the sequences that are written, from the states handed over."""
    writer = copy.copy(pass_)
    writing = pass_.batch.writing
    writer.batch = replace(pass_.batch, state={**(pass_.batch.state or {}), **handed})
    writer.lengths, writer.total = writing.lengths, int(writing.lengths.sum())
    writer.layout = layout_of(writing.lengths, writing.full)
    writer.sources, writer.extras, writer.handed = sources, writing.extras, tuple(handed)
    return writer


def translate_back(pass_, kept: Kept, dy, want, grads, dfinal) -> dict[str, np.ndarray]:
    """Adjoints of the encoder's inputs."""
    block = kept.block
    writer = copy.copy(kept.extra["writer"])
    writer.params, writer.dstate = pass_.params, {}
    writer.dsources = {name: memory.zeros(a.shape, a.dtype) for name, a in writer.sources.arrays.items()}
    writer.back(kept.inner[-1], dy, None, (), grads, dfinal)
    ends = dict(dfinal)
    for path in writer.handed:
        _hand_back(kept, path, writer.dstate.pop(path), pass_.params, grads, ends)
    pass_.dstate |= writer.dstate
    dvalues = writer.dsources[VALUES]
    if block.keys is not None:
        dkeys = (writer.dsources[KEYS + "k0"], 0, None)
        dvalues += pass_.back(kept.inner[1], dkeys, None, ("x",), grads, {})["x"]
    return pass_.back(kept.inner[0], (dvalues, 0, None), None, want, grads, ends)


def _hand_back(kept: Kept, path: str, d: np.ndarray, params, grads, ends) -> None:
    """Adjoints of the encoder's final states from that of a state handed over."""
    block, prefix = kept.block, kept.extra["prefix"]
    found = next(found for to, _, found in block.handed(prefix, kept.extra["sizes"]) if to == path)
    if block.bridge == "affine":
        end = np.concatenate([kept.extra["ends"][p] for p, _ in found], 1)
        d = affine_backward(d, end, _bridge(params, prefix, path)[0], *_bridge(grads, prefix, path))
    at = 0
    for p, n in found:
        part = d[:, at : at + n]
        ends[p] = ends[p] + part if p in ends else part
        at += n
