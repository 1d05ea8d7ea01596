"""A model file of the command: a network, and what was done to the data it learned from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Sequences, japanese_vowels, read
from ..entries import UnknownName
from ..errors import FileError, InputError
from ..network import Network
from ..params import Params
from ..train import Dataset, load_model, predict, save_model

__all__ = ["Model", "Preparation", "read_data"]

_COMMAND = "rnncore command"


@dataclass(frozen=True)
class Preparation:
    """How sequences and targets become what the network reads and gives; plain JSON.

    Parameters
    ----------
    features : tuple of str
    classes : tuple of str or None
        None where targets are values.
    per_step : bool
    mean, scale : tuple of float, one a feature
        What is taken from each feature, and what it is then divided by.
    target_mean, target_scale : tuple of float, one a value
        The same of targets that are values.
    loss : dict
        Name and options.
    columns : dict
        How a long table is read.
    """

    features: tuple[str, ...]
    classes: tuple[str, ...] | None
    per_step: bool
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    target_mean: tuple[float, ...]
    target_scale: tuple[float, ...]
    loss: dict[str, Any]
    columns: dict[str, Any]

    @classmethod
    def of(cls, data: Sequences, standardize: bool, loss: dict[str, Any], columns: dict[str, Any]):
        """From the training data. Values that are all 0 or 1 are decisions and stay as they are."""
        count = len(data.features)
        mean, scale = data.moments() if standardize else (np.zeros(count), np.ones(count))
        shift, factor = np.zeros(0), np.ones(0)
        if data.classes is None and data.y is not None:
            values = np.concatenate(list(map(np.atleast_2d, data.y)))
            shift, factor = np.zeros(values.shape[1]), np.ones(values.shape[1])
            if standardize and not np.isin(values, (0, 1)).all():
                spread = values.std(0)
                shift, factor = values.mean(0), np.where(spread > 0, spread, 1.0)
        return cls(
            data.features, data.classes, data.per_step, tuple(mean.tolist()), tuple(scale.tolist()),
            tuple(shift.tolist()), tuple(factor.tolist()), loss, columns,
        )  # fmt: skip

    def dataset(self, data: Sequences) -> Dataset:
        """Ready for the network; targets too, where there are some."""
        x, y = data.standardize(np.array(self.mean), np.array(self.scale)).x, data.y
        if y is not None and self.classes is None:
            shift, factor = np.array(self.target_mean), np.array(self.target_scale)
            y = [(v - shift) / factor for v in y] if isinstance(y, list) else (y - shift) / factor
        return Dataset(x, y, per_step=self.per_step if y is not None else None)

    def restored(self, outputs: Any) -> Any:
        """Values in the units of the file, from outputs of the network."""
        shift, factor = np.array(self.target_mean), np.array(self.target_scale)
        if isinstance(outputs, list):
            return [o * factor + shift for o in outputs]
        return outputs * factor + shift


@dataclass(frozen=True)
class Model:
    """A network with its parameters and the preparation of its data."""

    network: Network
    params: Params
    preparation: Preparation

    def save(self, path: Path) -> None:
        """Write it, atomically."""
        save_model(path, self.network, self.params, {_COMMAND: asdict(self.preparation)})

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read what `save` wrote.

        Raises
        ------
        FileError
            If the file is damaged, no model, or not of this command.
        """
        try:
            network, params, extra = load_model(path)
        except FileError as error:
            if _caused_by(error, UnknownName):
                raise FileError(f"{error}\nIs it in a file of your own? Give --plugin FILE") from error
            raise
        kept = extra.get(_COMMAND)
        if not isinstance(kept, dict):
            raise FileError(f"{path}: no model of `rnncore train`: it does not say how data is prepared")
        as_tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
        try:
            return cls(network, params, Preparation(**as_tuples))
        except TypeError as error:
            raise FileError(f"{path}: a model of another version of this command: {error}") from error

    def outputs(self, data: Sequences) -> Any:
        """Outputs of the network: (N, outputs), or a list of (T_i, outputs)."""
        unlabelled = replace(data, y=None, classes=None)
        return predict(self.network, self.params, self.preparation.dataset(unlabelled))

    def read(self, path: Path | None, given: dict[str, Any], targets: bool) -> Sequences:
        """Data like the training data: by `given` columns, or by those of training; None: the embedded test part.

        Raises
        ------
        FileError, InputError
            If the file cannot be read so, or has other features, classes or kinds of target.
        """
        if path is None:
            data = japanese_vowels()[1]
            self.check(data, data.source, targets)
            return data
        columns = {**self.preparation.columns, **{k: v for k, v in given.items() if v is not None}}
        if not targets:
            columns |= {"target": [], "values": None}
        data = read_data(path, columns, features=self.preparation.features)
        self.check(data, path, targets)
        if targets and self.preparation.classes is not None:
            data = data.with_classes(self.preparation.classes)
        return data

    def check(self, data: Sequences, path: Path | str, targets: bool) -> None:
        """Raise an `InputError` where data has other features or kinds of target than the training data."""
        wanted = self.preparation
        if len(data.features) != len(wanted.features):
            raise InputError(
                f"{path} has {len(data.features)} features, the model was trained on {len(wanted.features)}"
            )
        if not targets:
            return
        if data.y is None:
            raise InputError(f"{path} has no targets to compare with")
        kinds = [
            f"{'classes' if classes else 'values'} per {'step' if per_step else 'sequence'}"
            for classes, per_step in ((data.classes, data.per_step), (wanted.classes, wanted.per_step))
        ]
        if kinds[0] != kinds[1]:
            raise InputError(f"{path} has {kinds[0]}, the model was trained on {kinds[1]}")


def read_data(path: Path, columns: dict[str, Any], features: tuple[str, ...] | None = None) -> Sequences:
    """Read a data file without missing values; `columns` and `features` matter for long tables only."""
    if Path(path).suffix.lower() != ".csv":
        return read(path, missing="error")
    return read(path, missing="error", features=list(features) if features else None, **columns)


def _caused_by(error: BaseException | None, kind: type) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error is not None
