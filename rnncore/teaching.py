"""Teacher forcing: a network that feeds its output back is handed the true one, always or by a coin at each step.

Williams and Zipser, A learning algorithm for continually running fully recurrent neural networks, Neural
Computation 1, 1989; with a coin: Bengio et al., Scheduled sampling, NeurIPS 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from .arguments import whole
from .backends import Backend, backend_of, chosen, indexed, namespace
from .combine.blocks import last_loop
from .combine.wired import Wired
from .errors import InputError
from .inputs import Batch, Writing, as_array, listed
from .lang.cell import Stepped, sizes_of

__all__ = ["Lesson", "fed_back", "features_at", "lesson", "lesson_of", "ratio_of"]


@dataclass(frozen=True, eq=False)
class Lesson:
    """The loop at path `prefix` with further inputs: its teaching form, numbers of its sizes, their arrays by name."""

    prefix: str
    layer: Stepped
    sizes: dict[Any, int]
    arrays: dict[str, np.ndarray]


def ratio_of(teacher_forcing: Any) -> float:
    """The share of steps that are forced.

    Raises
    ------
    InputError
        `teacher_forcing` is none of None, ``"never"``, ``"always"`` and a number in [0, 1].
    """
    if teacher_forcing is None or isinstance(teacher_forcing, str) and teacher_forcing == "never":
        return 0.0
    if isinstance(teacher_forcing, str) and teacher_forcing == "always":
        return 1.0
    number = isinstance(teacher_forcing, Real) and not isinstance(teacher_forcing, (bool, np.bool_))
    if not number or not 0 <= float(teacher_forcing) <= 1:  # NaN is in no interval
        raise InputError(f"teacher_forcing must be 'always', 'never' or a ratio in [0, 1], got {teacher_forcing!r}")
    return float(teacher_forcing)


def fed_back(net) -> tuple[str, Wired, int]:
    """Path prefix, layer and size of the output that the network feeds back.

    Raises
    ------
    InputError
        It feeds none back, or gives no output at each step.
    """
    last = last_loop(net.block)
    layer = last.layer if last is not None else None
    if not isinstance(layer, Wired) or layer.fed_back is None:
        raise InputError(f"teacher forcing needs a network whose last block feeds its output back, got {net!r}")
    if not net.per_step:
        raise InputError(f"teacher forcing needs a target at every step; the mode of this network is {net.mode!r}")
    prefix = list(net.loops)[-1]
    return prefix, layer, net.state_shapes[prefix + layer.fed_back][0]


def lesson_of(net, batch: Batch, target, teacher_forcing, seed, dtype) -> Lesson | None:
    """What a call with `target` is taught; None where it runs on its own outputs.

    Raises
    ------
    InputError
        An argument is impossible, or the network feeds no output back.
    """
    ratio = ratio_of(teacher_forcing)
    if target is None and ratio:
        raise InputError(f"teacher_forcing={teacher_forcing!r} hands on the true outputs: give them as target")
    if not ratio:
        return None
    return lesson(net, batch, _true_rows(target, batch.out, fed_back(net)[2]), ratio, seed, dtype)


def lesson(net, batch: Batch, true: np.ndarray, ratio: float, seed, dtype) -> Lesson | None:
    """As `lesson_of`, from the true outputs of all steps within the lengths, one sequence after another."""
    if not ratio:
        return None
    prefix, layer, size = fed_back(net)
    if true.shape[1] != size:
        raise InputError(f"teacher forcing hands on targets of size {size}, as is fed back, got {true.shape[1]}")
    coins = np.ones(len(true)) if ratio == 1 else _generator(seed).random(len(true)) < ratio
    xp = namespace(batch.backend)
    values = (xp.ascontiguousarray(rows, dtype) for rows in (true, xp.asarray(coins[:, None])))
    arrays = {name: _laid_out(rows, batch.out) for name, rows in zip(layer.true_inputs, values, strict=True)}
    taught, widths = layer.teaching, {name: a.shape[1] for name, a in arrays.items()}
    given = {**features_at(net, prefix), **widths}
    return Lesson(prefix, taught, sizes_of(taught, given), arrays)


def _laid_out(rows: np.ndarray, out: Batch | Writing) -> np.ndarray:
    """Rows of the steps that count as those of all steps, zero where none counts."""
    if out.segments is None and out.form == "padded" and out.full:
        return rows
    count = int(out.counts.sum()) if out.form == "list" else out.size * out.time
    made = backend_of("cpu" if out.backend is None else out.backend.device).zeros((count, rows.shape[1]), rows.dtype)
    made[indexed(made, out.index)] = rows
    return made


def features_at(net, prefix: str) -> dict[str, int]:
    """Features of the inputs of the loop at `prefix`."""
    layer, sizes = net.loops[prefix]
    return {name: sizes[layer.step.dims[name]] for name in (*layer.step.inputs, *layer.step.sources)}


def _generator(seed) -> np.random.Generator:
    """Of coins: another stream than that of dropout."""
    if seed is None:
        raise InputError("a teacher_forcing ratio between 0 and 1 tosses a coin at each step: give a seed")
    if whole(seed, 0) is None:
        raise InputError(f"seed must be None or an integer of at least 0, got {seed!r}")
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=(1,)))


def _true_rows(target, batch: Batch | Writing, size: int) -> np.ndarray:
    """Targets of all steps within the lengths as (rows, size): numbers as they are, integer classes one-hot."""
    xp, target = namespace(batch.backend), listed(target)
    if isinstance(target, (list, tuple)) and len(target) and hasattr(target[0], "__array__"):
        if len(target) != batch.size:
            raise InputError(f"{len(target)} target sequences are given for {batch.size} input sequences")
        of = [(k, n, inside[:n]) for k, (n, inside) in enumerate(zip(batch.lengths, batch.inside))]
        parts = [_checked(target[k], (), n, size, f"target {k}", batch.backend) for k, n, _ in of]
        rows = xp.concatenate([chosen(part[:n], inside) for part, (_, n, inside) in zip(parts, of)])
    else:
        array = _checked(target, (batch.size,), batch.time, size, "target", batch.backend)
        rows = chosen(array, batch.inside)
    if rows.ndim == 2:
        return rows
    if rows.size and (rows.min() < 0 or rows.max() >= size):
        bad = int(rows[(rows < 0) | (rows >= size)][0])
        raise InputError(f"class targets must lie in 0..{size - 1}, got {bad}")
    return xp.eye(size)[rows.astype(np.int64)]


def _checked(target, lead: tuple[int, ...], time: int, size: int, what: str, backend: Backend | None) -> np.ndarray:
    array = as_array(target, what, backend=backend)
    classes = array.ndim == len(lead) + 1
    steps = array.shape[len(lead)] if array.ndim > len(lead) else -1
    fits = array.shape[: len(lead)] == lead and (steps == time if lead else steps >= time)
    if not fits or not classes and array.shape[len(lead) + 1 :] != (size,):
        wanted = ", ".join(map(str, (*lead, time)))
        raise InputError(f"{what} must have shape ({wanted}, {size}), or ({wanted}) of classes, got {array.shape}")
    if array.size and array.dtype.kind not in ("iu" if classes else "fiub"):
        kind = "integers" if classes else "numbers"
        raise InputError(f"{what} of shape {array.shape} must be {kind}, got {array.dtype}")
    return array
