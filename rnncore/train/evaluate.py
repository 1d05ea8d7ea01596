"""A network on data it need not learn from: loss, accuracy, outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network import Network
from ..objective import check_outputs, value_and_gradient
from ..params import Params
from ..writing import writes
from .buckets import batches_by_length
from .chunks import check_carries, stream_batches
from .components import resolve
from .data import Dataset
from .fits import as_dataset, check_fits

__all__ = ["evaluate", "predict", "weight_of"]


def weight_of(per_step: bool, lengths: np.ndarray) -> int:
    """Number of targets that a mean over a batch is taken over."""
    return int(lengths.sum()) if per_step else len(lengths)


def evaluate(
    network: Network, params: Params, data: Any, *, loss: Any, batch_size: int = 256, stateful: bool = False
) -> dict[str, float]:
    """Mean loss over all targets and, where they are classes, accuracy.

    A decoder is handed the true outputs for its loss, and runs on its own for its accuracy: greedy decoding.

    Parameters
    ----------
    network : Network
    params : Params
    data : Dataset or (x, target)
    loss : str, Component or Bound
    batch_size : int
        Sequences of a batch; batches are made of sequences of about one length.
    stateful : bool
        Batches are in the order of the data, and row j of each continues row j of the one before (see `Trainer`).

    Returns
    -------
    dict
        ``loss``, ``accuracy`` (for classes: the share of targets with the largest output), ``exact_match`` (for
        classes that a decoder writes: the share of sequences without a mistake), ``sequences``.

    Raises
    ------
    InputError
        If the data has no targets, or does not fit the network.
    """
    bound = resolve("loss", loss)
    classes = bound.component.target == "class"
    data = as_dataset(data, network)
    data, run = data.cast(params.dtype, values=not classes), network.bind(params)
    check_fits(network, data, bound, "evaluation")
    check_outputs(bound, network.outputs or network.features)
    if stateful:
        check_carries(network, "stateful=True")
    own, total, right, exact, weight = not data.aligned, 0.0, 0, 0, 0
    batches = stream_batches(len(data), batch_size) if stateful else batches_by_length(data.work, batch_size)
    carried: dict[str, Any] = {}
    for indices in batches:
        x, target, lengths = data.batch(indices)
        assert target is not None  # check_fits has seen it
        given = {"lengths": lengths, **data.own_lengths(indices)}
        y, state = run(x, **given, **carried, **({"target": target} if own else {}))
        carried = {"state": state} if stateful else {}
        said = run(x, **given)[0] if own and classes else y
        if classes:
            exact += _exact(said, target, given["target_lengths"]) if own else 0
        if data.per_step:
            inside = np.arange(y.shape[1]) < given.get("target_lengths", lengths)[:, None]
            y, said, target = y[inside], said[inside], target[inside]
        if classes:
            right += int((said.argmax(-1) == target).sum())
            target = np.eye(y.shape[-1], dtype=y.dtype)[target]
        total += value_and_gradient(bound, y, target, gradient=False)[0].sum(dtype=np.float64)
        weight += len(y)
    found = {"loss": float(total / weight)}
    if classes:
        found["accuracy"] = right / weight
    if classes and own:
        found["exact_match"] = exact / len(data)
    return {**found, "sequences": len(data)}


def _exact(y: np.ndarray, target: np.ndarray, lengths: np.ndarray) -> int:
    """How many sequences have the largest output at the target of each of their steps."""
    outside = np.arange(y.shape[1]) >= lengths[:, None]
    return int(((y.argmax(-1) == target) | outside).all(1).sum())


def predict(network: Network, params: Params, data: Any, *, batch_size: int = 256, steps: int | None = None) -> Any:
    """Outputs of the network for each sequence, in the order given.

    Parameters
    ----------
    network : Network
    params : Params
    data : Dataset, or what a dataset is made of
    batch_size : int
        Sequences of a batch.
    steps : int, optional
        How many a decoder writes, running on its own outputs.

    Returns
    -------
    ndarray (N, outputs), or list of ndarray (T_i, outputs)
        One vector a sequence with ``mode="many-to-one"``, else one a step.
    """
    data = data if isinstance(data, Dataset) else Dataset(data)
    data, run = data.cast(params.dtype, values=False), network.bind(params)
    outputs: list[np.ndarray] = [np.zeros(0)] * len(data)
    for indices in batches_by_length(data.lengths, batch_size):
        x, _, lengths = data.batch(indices)
        y, _ = run(x, lengths=lengths, **({} if steps is None else {"steps": steps}))
        for i, out, n in zip(indices, y, lengths, strict=True):
            outputs[i] = out if out.ndim == 1 else out[: steps if writes(network) else n].copy()
    if network.mode != "many-to-one":
        return outputs
    return np.stack(outputs) if outputs else np.zeros((0, network.outputs or network.features), params.dtype)
