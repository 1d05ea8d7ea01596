"""Sequence to sequence, run and differentiated: an encoder's pass, what it hands over, a decoder's pass."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from .combine.translate import KEYS, VALUES, Translate, bridge_paths
from .kept import Kept
from .layout import Rows, Sources, layout_of, ragged

__all__ = ["encode", "translate", "translate_back"]


def translate(pass_, block: Translate, prefix: str, xs, rows: Rows, sizes, out):
    """Run encoder, keys and decoder; (None, the tape's part)."""
    writer, kept = encode(pass_, block, prefix, xs, rows, sizes)
    lesson = pass_.batch.lesson
    own = Rows(pass_.batch.writing.base, 1)
    _, decoder = writer.run(block.decoder, prefix, {} if lesson is None else lesson.arrays, own, sizes, out, False)
    kept.inner = [part for part in (*kept.inner, decoder) if part is not None]
    kept.extra["out"] = None if out is None else out[2]
    return None, kept


def encode(pass_, block: Translate, prefix: str, xs, rows: Rows, sizes):
    """Run encoder and keys: the pass of the decoder, the tape's part so far.

    Of a source with masks or resets the encoder reads the episodes; the decoder starts from the last one's end and
    sees the steps of all that count.
    """
    cut = pass_.batch.segments
    reader = pass_ if cut is None else pass_.over(cut.batch(replace(pass_.batch, lesson=None), pass_.params))
    if cut is not None:
        xs, rows = reader.batch.arrays, Rows(reader.batch.base, 1)
    xs = {name: xs[name] for name in pass_.batch.arrays}  # what teaches the decoder is not the encoder's
    width, own = block.encoder.features(sizes), reader.ragged()
    values = pass_.backend.empty((reader.total, width), pass_.dtype)
    _, encoder = reader.run(block.encoder, f"{prefix}encoder.", xs, rows, sizes, (values, 0, own), False)
    read, keys = {VALUES: values}, None
    if block.keys is not None:
        scored = pass_.backend.empty((reader.total, block.keys.features({"x": width})), pass_.dtype)
        to = (scored, 0, own)
        _, keys = reader.run(block.keys, prefix + KEYS, {"x": values}, own, {"x": width}, to, False)
        read[KEYS + "k0"] = scored
    ends = dict(reader.final) if cut is None else {path: cut.ends(v) for path, v in reader.final.items()}
    pass_.final |= ends
    handed = _hand_over(pass_, block, prefix, sizes, ends)
    counts = pass_.lengths if cut is None else cut.counts
    arrays = {name: part for whole, a in read.items() for name, part in pass_.source(whole, a).items()}
    writer = _writer(pass_, handed, Sources(arrays, ragged(counts).base, counts))
    kept = {"prefix": prefix, "sizes": sizes, "reader": reader, "writer": writer, "ends": ends, "read": read}
    return writer, Kept(block, [encoder, keys], kept)


def _hand_over(pass_, block: Translate, prefix: str, sizes, ends) -> dict[str, dict[str, np.ndarray]]:
    """Initial states of the decoder that the encoder gives and the caller does not."""
    given, handed = pass_.batch.state or {}, {}
    for path, size, found in block.handed(prefix, sizes):
        if path not in given:
            end = pass_.rows_of(ends, [p for p, _ in found])
            rows = end if block.bridge == "copy" else pass_.affine(end, *bridge_paths(prefix, path))
            handed[path] = pass_.states_of(rows, [(path, size)])
    return handed


def _writer(pass_, handed, sources: Sources):
    """The pass of the decoder: over the sequences that are written, from the states handed over."""
    writer = copy.copy(pass_)
    writing, state = pass_.batch.writing, dict(pass_.batch.state or {})
    for states in handed.values():
        state |= states
    writer.batch = replace(pass_.batch, state=state)
    writer.lengths, writer.time, writer.total = writing.lengths, writing.time, int(writing.lengths.sum())
    writer.layout = layout_of(writing.lengths, writing.full)
    writer.sources, writer.extras, writer.handed = sources, writing.extras, handed
    return writer


def translate_back(pass_, kept: Kept, dy, want, grads, dfinal) -> dict[str, np.ndarray]:
    """Adjoints of the encoder's inputs."""
    writer = copy.copy(kept.extra["writer"])
    writer.params, writer.dstate = pass_.params, {}
    dread = {name: pass_.backend.zeros(a.shape, a.dtype) for name, a in kept.extra["read"].items()}
    writer.dsources = {name: part for whole, a in dread.items() for name, part in pass_.source(whole, a).items()}
    writer.back(kept.inner[-1], dy, None, (), grads, dfinal)
    ends = dict(dfinal)
    for path, states in writer.handed.items():
        d = {name: writer.dstate.pop(name) for name in states}
        _hand_back(pass_, kept, path, pass_.rows_of(d, [path]), grads, ends)
    pass_.dstate |= writer.dstate
    return _encode_back(pass_, kept, dread, want, grads, ends)


def _encode_back(pass_, kept: Kept, dread, want, grads, ends) -> dict[str, np.ndarray]:
    cut, reader, dvalues = pass_.batch.segments, pass_, dread[VALUES]
    if cut is not None:
        reader = copy.copy(kept.extra["reader"])
        reader.params, reader.dstate = pass_.params, {}
        ends = {path: cut.ends_back(d) for path, d in ends.items()}
    if kept.block.keys is not None:
        dkeys = (dread[KEYS + "k0"], 0, None)
        dvalues += reader.back(kept.inner[1], dkeys, None, ("x",), grads, {})["x"]
    dxs = reader.back(kept.inner[0], (dvalues, 0, None), None, want, grads, ends)
    if cut is None:
        return dxs
    pass_.dstate |= cut.states_back(reader.dstate, (), grads)
    return {name: cut.inputs_back(d, len(pass_.batch.arrays[name])) for name, d in dxs.items()}


def _hand_back(pass_, kept: Kept, path: str, d: np.ndarray, grads, ends) -> None:
    """Adjoints of the encoder's final states from that of a state handed over."""
    block, prefix = kept.block, kept.extra["prefix"]
    found = next(found for to, _, found in block.handed(prefix, kept.extra["sizes"]) if to == path)
    if block.bridge == "affine":
        end = pass_.rows_of(kept.extra["ends"], [p for p, _ in found])
        d = pass_.affine_back(d, end, *bridge_paths(prefix, path), grads)
    for p, part in pass_.states_of(d, found).items():
        ends[p] = ends[p] + part if p in ends else part
