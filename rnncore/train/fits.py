"""Whether data fits a network, told before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..lang.component import Bound
from ..network import Network
from ..objective import width_of
from ..writing import writes
from .data import Dataset

__all__ = ["as_dataset", "check_fits"]


def as_dataset(data: Any, network: Network) -> Dataset:
    """A dataset as it is; (x, target) as one of the form that the network needs.

    Raises
    ------
    InputError
        If it is something else, or makes no dataset.
    """
    if isinstance(data, tuple) and len(data) == 2:
        data = Dataset(*data, per_step=network.mode != "many-to-one", aligned=not writes(network))
    if not isinstance(data, Dataset):
        raise InputError(f"expected a Dataset or (x, target), got {type(data).__name__}")
    return data


def check_fits(network: Network, data: Dataset, loss: Bound, name: str) -> None:
    """Raise `InputError` unless inputs and targets fit the network and the loss; `name` is for errors."""
    classes = loss.component.target == "class"
    if not len(data):
        raise InputError(f"{name} data: there is no sequence in it")
    x, _, lengths = data.batch(np.array([data.lengths.argmin()]))
    network.as_padded(x, lengths)  # its own checks, for which one sequence is enough
    outputs, target = network.outputs or network.features, data.target
    if target is None or not len(target):
        raise InputError(f"{name} data: there is no target in it")
    own = writes(network)
    if data.aligned == own:
        wrong = "writes sequences with lengths of their own" if own else "gives its outputs in step with its input"
        raise InputError(f"{name} targets: this network {wrong}; give Dataset(..., aligned={not own})")
    per_step = network.mode != "many-to-one"
    if data.per_step != per_step:
        needed, got = ("step", "sequence") if per_step else ("sequence", "step")
        raise InputError(
            f"{name} targets: a {network.mode} network needs one a {needed}, the data has one a {got}; "
            f"give Dataset(..., per_step={per_step}), or the network another mode"
        )
    width = width_of(loss, outputs)
    if not classes and target.shape[-1] != width:
        reads = f"the network has {outputs} outputs" if width == outputs else f"loss {loss.name!r} reads {width}"
        raise InputError(f"{name} targets: {reads}, got {target.shape[-1]} values")
    if classes and (target.dtype.kind not in "iu" or target.ndim != 1):
        raise InputError(f"{name} targets: expected integers, got {target.dtype} of shape {target.shape}")
    if classes and (target.min() < 0 or target.max() >= outputs):
        raise InputError(
            f"{name} targets: the network's {outputs} outputs are classes 0 to {outputs - 1}, "
            f"got {target.min()} to {target.max()}"
        )
