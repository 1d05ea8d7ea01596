"""What a decoder is asked to write: how many steps of each sequence, from the targets or from the caller."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import whole
from .backends import backend_of
from .combine.translate import Translate
from .errors import InputError
from .inputs import Batch, Writing, as_array, as_host, as_lengths, listed

__all__ = ["attention", "refuse_decoder", "set_writing", "writes"]


def writes(net) -> bool:
    """Whether a network writes sequences of lengths of their own."""
    return isinstance(net.block, Translate)


def refuse_decoder(net, what: str) -> None:
    """Raise `InputError` where a network has a decoder, which `what` does not go through."""
    if writes(net):
        raise InputError(f"{what} a network that writes in step with its input; this one has a decoder: {net!r}")


def set_writing(net, batch: Batch, target, target_lengths, steps) -> None:
    """Set what the decoder of a network writes, if it has one.

    Parameters
    ----------
    target : array_like (batch, steps, ...), list of per-sequence arrays, or None
    target_lengths : array_like of int (batch,) or None
        0 to the steps of the target.
    steps : int or None
        Steps to write where there is no target.

    Raises
    ------
    InputError
        Impossible lengths; lengths of targets for a network that writes in step with its input.
    """
    if not writes(net):
        if target_lengths is not None:
            raise InputError("target_lengths are for networks that write sequences of their own lengths (a decoder)")
        return
    time, own = _time(batch, target, target_lengths, steps)
    lengths = own if target_lengths is None else as_lengths(target_lengths, batch.size, time, "target_lengths", "y")
    if own is not None and lengths is not None and (lengths > own).any():
        k = int(np.flatnonzero(lengths > own)[0])
        raise InputError(f"target_lengths[{k}] is {lengths[k]}, the target of this sequence has {own[k]} steps")
    batch.writing = Writing(np.full(batch.size, time, np.int64) if lengths is None else lengths, time)
    batch.writing.backend = batch.backend


def _time(batch: Batch, target: Any, target_lengths, steps) -> tuple[int, np.ndarray | None]:
    """Steps to write, and the lengths of a list of targets."""
    if target is not None and steps is not None:
        raise InputError("steps says how much to write where there is no target; give one of them")
    target = listed(target)
    if isinstance(target, (list, tuple)) and len(target) and hasattr(target[0], "__array__"):
        counts = np.array([len(part) for part in target], np.int64)
        if len(counts) != batch.size:
            raise InputError(f"{len(counts)} target sequences are given for {batch.size} input sequences")
        return int(counts.max(initial=0)), counts
    if target is not None:
        array = target if hasattr(target, "shape") else as_array(target, "target")
        if array.ndim < 2 or len(array) != batch.size:
            raise InputError(f"target must have shape ({batch.size}, steps, ...), got {array.shape}")
        return array.shape[1], None
    if steps is None and target_lengths is not None:
        return int(np.max(as_host(target_lengths, "target_lengths"), initial=0)), None
    number = whole(steps, 0)
    if number is None:
        raise InputError(f"a decoder writes as many steps as a target has, or steps=, 0 or more; got steps={steps!r}")
    return number, None


def attention(net, params, x, given: dict):
    """Outputs and attention weights (see `Network.attention`)."""
    from .execute import called, for_caller

    if not writes(net) or "alpha" not in net.block.decoder.layer.step.extras:
        raise InputError(f"this network does not attend: {net!r}")
    arguments = {"lengths": None, "state": None, "seed": None, **given}
    batch = net._batch(params, x, **arguments)
    inside = batch.inside
    counts = inside.sum(1)
    longest = int(counts.max(initial=0))
    backend = backend_of(params.device)
    rows = backend.zeros((batch.size * batch.writing.time, longest), params.dtype)
    batch.writing.extras = {"alpha": rows}
    y, _ = called(net, params, batch, seed=arguments["seed"])
    alpha = backend.zeros((batch.size * batch.time, batch.writing.time), params.dtype)
    seen = rows.reshape(batch.size, batch.writing.time, longest).swapaxes(1, 2)
    of, position = (backend.index(i) for i in np.nonzero(np.arange(longest) < counts[:, None]))
    alpha[backend.index(np.flatnonzero(inside))] = seen[of, position]
    alpha = alpha.reshape(batch.size, batch.time, batch.writing.time).swapaxes(1, 2)
    return y, for_caller(batch, backend.xp.ascontiguousarray(alpha))
