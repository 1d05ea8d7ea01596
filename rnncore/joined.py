"""Blocks beside one another in a pass: they read the same sequences, need nothing of one another, and are merged."""

from __future__ import annotations

from typing import Any

from .combine.blocks import Join
from .kept import Kept
from .params import Params
from .rows import put

__all__ = ["join", "join_back", "ragged_dy"]


def _beside(pass_: Any, block: Join, prefix: str, sizes, which: str):
    """What the blocks run in (see `rnncore.backends.Backend`)."""
    paths = [[p for p, *_ in b.walk(f"{prefix}{name}.", sizes)] for name, b in zip(block.names, block.blocks)]
    works = [[pass_.net.loops[path] for path in each] for each in paths]
    return pass_.backend.beside(works, which, pass_.layout, str(pass_.dtype))


def join(pass_: Any, block: Join, prefix: str, xs, rows, sizes, out, last: bool):
    """Run the blocks and merge their outputs (see `rnncore.passes.Pass.run`)."""
    kept, lasts, column = Kept(block), [], 0
    outs: list[Any] = []
    backend, features = pass_.backend, block.features(sizes)
    merged = block.merge != "concat" and out is not None
    which = "forward" if pass_.training and pass_.batch.checkpoint is None else "infer"
    with _beside(pass_, block, prefix, sizes, which) as branch:
        for name, inner in zip(block.names, block.blocks):
            to = None if out is None else (out[0], out[1] + column, out[2])
            with branch():
                if merged:
                    to = (backend.empty((pass_.total, features), pass_.dtype), 0, pass_.ragged())
                end, part = pass_.run(inner, f"{prefix}{name}.", xs, rows, sizes, to, last)
            if block.merge == "concat":
                column += inner.features(sizes)
            outs.append(to)
            lasts.append(end)
            kept.inner.append(part)
    scale = 1 / len(block.blocks) if block.merge == "mean" else 1
    if merged:
        total = backend.zeros((pass_.total, features), pass_.dtype)
        for to in outs:
            total += to[0]
        put(out, total * pass_.dtype.type(scale), pass_.lengths)
    kept.extra = {"prefix": prefix, "sizes": sizes, "scale": scale, "out": None if out is None else out[2]}
    if not last:
        return None, kept
    if block.merge == "concat":
        return backend.xp.concatenate(lasts, 1), kept
    return sum(lasts) * pass_.dtype.type(scale), kept


def join_back(pass_: Any, kept: Kept, dy, dlast, want, grads: Params, dfinal):
    """The way back: adjoints of what all the blocks read (see `rnncore.passes.Pass.back`)."""
    block, sizes, column = kept.block, kept.extra["sizes"], 0
    found: list[dict[str, Any]] = []
    total: dict[str, Any] = {}
    with _beside(pass_, block, kept.extra["prefix"], sizes, "backward") as branch:
        for inner, part in zip(block.blocks, kept.inner):
            with branch():
                end, d = _adjoints(pass_, kept, dy, dlast, column, inner.features(sizes))
                found.append(pass_.back(part, d, end, want, grads, dfinal))
            column += inner.features(sizes)
    for dxs in found:
        for name, dx in dxs.items():
            total[name] = total[name] + dx if name in total else dx
    return total


def _adjoints(pass_: Any, kept: Kept, dy, dlast, column: int, width: int):
    """Of the final output and of the outputs of one block, from those of what they are merged to."""
    scale = pass_.dtype.type(kept.extra["scale"])
    if kept.block.merge != "concat":
        end = None if dlast is None else dlast * scale
        return end, None if dy is None else ragged_dy(pass_, dy, width, scale)
    end = None if dlast is None else pass_.backend.xp.ascontiguousarray(dlast[:, column : column + width])
    return end, None if dy is None else (dy[0], dy[1] + column, dy[2])


def ragged_dy(pass_: Any, dy, width: int, scale):
    """The adjoint of an output, sequence by sequence."""
    taken = dy[0][pass_.at(dy[2]), dy[1] : dy[1] + width]
    return pass_.backend.xp.ascontiguousarray(taken) * scale, 0, pass_.ragged()
