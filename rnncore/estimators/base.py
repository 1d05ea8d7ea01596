"""What classifiers and regressors share: settings, standardised sequences, a trained network."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..description import reads_out
from ..errors import InputError
from ..lang.component import Bound
from ..network import Network
from ..registry import current
from ..train import LBFGS, Dataset, Trainer, predict
from ..train.components import resolve
from .sequences import as_sequences

__all__ = ["SequenceEstimator", "as_targets"]


class SequenceEstimator(BaseEstimator):
    """A network of one output a sequence, with the interface of scikit-learn's estimators.

    The settings are those of `RNNClassifier`; nothing is checked or computed before `fit`.
    """

    _default_loss: str  # its key in the defaults of the command
    _classes: bool

    def __init__(
        self, layer=None, *, loss=None, optimizer=None, learning_rate=3e-3, schedule=None, epochs=60, batch_size=32,
        clip_norm=1.0, patience=None, validation_fraction=0.0, standardize=True, initial_state="zero",
        dtype="float32", device="cpu", random_state=0, verbose=False,
    ):  # fmt: skip
        self.layer = layer
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.clip_norm = clip_norm
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.initial_state = initial_state
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _train(self, X: Any, target: np.ndarray, outputs: int) -> None:
        """Learn targets that are ready for the loss."""
        sequences = as_sequences(X)
        if len(target) != len(sequences):
            raise InputError(
                f"y must have one target for each of the {len(sequences)} sequences of X, got {len(target)}"
            )
        count = len(sequences.features)
        mean, scale = sequences.moments() if self.standardize else (np.zeros(count), np.ones(count))
        network = self._network(count, outputs)
        trainer = self._trainer(network)
        data, held = Dataset(sequences.standardize(mean, scale).x, target, per_step=False), None
        if self.validation_fraction:
            data, held = data.split(self.validation_fraction, trainer.seed)
        start = network.init(seed=trainer.seed, dtype=self.dtype, device=self.device)
        result = trainer.fit(data, held, params=start)
        self.n_features_in_, self.mean_, self.scale_ = count, mean, scale
        self.network_, self.params_ = network, result.params
        self.history_, self.n_iter_ = result.history, len(result.history)

    def _network(self, inputs: int, outputs: int) -> Network:
        """With a readout, unless the last block feeds one of its own back."""
        network = Network(self._layer(), inputs=inputs, mode="many-to-one", initial_state=self.initial_state)
        if reads_out(network.block) is None:
            return replace(network, outputs=outputs)
        if network.features != outputs:
            own = f"{network.layer!r} has {network.features} outputs of its own"
            raise InputError(f"{own}, these targets need {outputs}")
        return network

    def _layer(self) -> Any:
        if self.layer is not None:
            return self.layer
        registry, usual = current(), current().defaults("command")
        return registry.get("topology", usual["topology"])(registry.get("cell", usual["cell"])(usual["units"]))

    def _loss(self) -> Bound:
        usual = current().defaults("command")[self._default_loss]
        loss = resolve("loss", usual if self.loss is None else self.loss)
        if (loss.component.target == "class") != self._classes:
            reads, learns = ("values", "classes") if self._classes else ("classes", "values")
            raise InputError(f"loss {loss.name!r} is for {reads}, {type(self).__name__} learns {learns}")
        return loss

    def _trainer(self, network: Network) -> Trainer:
        optimizer = current().defaults("command")["optimizer"] if self.optimizer is None else self.optimizer
        whole = optimizer == "lbfgs" or isinstance(optimizer, LBFGS)
        seed = self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31 - 1)
        return Trainer(
            network, loss=self._loss(), optimizer=optimizer, learning_rate=self.learning_rate, schedule=self.schedule,
            epochs=self.epochs, batch_size=self.batch_size, clip_norm=None if whole else self.clip_norm,
            patience=self.patience, seed=int(seed), dtype=self.dtype, progress=bool(self.verbose),
        )  # fmt: skip

    def _outputs(self, X: Any) -> np.ndarray:
        """Outputs of the trained network, (N, outputs), float64."""
        check_is_fitted(self)
        sequences = as_sequences(X, self.n_features_in_).standardize(self.mean_, self.scale_)
        return predict(self.network_, self.params_, sequences.x).astype(np.float64)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def as_targets(y: Any) -> np.ndarray:
    """`y` as an array; an `InputError` if it makes none, or where a target is masked, NaN or infinite."""
    if np.ma.is_masked(y):
        raise InputError("y has masked elements, which have no value: leave those sequences out")
    try:
        targets = np.asarray(y)
    except ValueError as error:
        raise InputError(f"y must have one target a sequence, all of one shape: {error}") from error
    if targets.dtype.kind == "f" and targets.ndim:
        wrong = ~np.isfinite(targets).reshape(len(targets), -1).all(axis=1)
        if wrong.any():
            raise InputError(f"y[{int(np.argmax(wrong))}] is NaN or infinite")
    return targets
