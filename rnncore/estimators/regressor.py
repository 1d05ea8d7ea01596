"""Values of sequences, by the interface of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from ..errors import InputError
from ..lang.component import Bound
from ..objective import check_outputs, value_and_gradient, width_of
from .base import SequenceEstimator, as_targets

__all__ = ["RNNRegressor"]


class RNNRegressor(RegressorMixin, SequenceEstimator):
    """A recurrent network that learns one value of a sequence, or several, as a regressor of scikit-learn.

    `X` and all settings are those of `RNNClassifier`, but the loss, which by default is the squared error. With
    `standardize` it is measured on targets of mean 0 and deviation 1, where it is a function of outputs less targets.
    Where it is another one, as the binary cross-entropy, targets stay as they are, and what is predicted are the
    network's outputs: there, logits.

    Attributes
    ----------
    network_, params_, history_, n_iter_, n_features_in_, mean_, scale_
        As of `RNNClassifier`.
    target_mean_, target_scale_ : ndarray of float64, (outputs,)
        What is taken from each target, and what it is then divided by.

    Examples
    --------
    >>> import numpy as np, rnncore as rn
    >>> from rnncore.estimators import RNNRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 10))
    >>> y = 100 + 20 * X.mean(axis=1)
    >>> model = RNNRegressor(rn.cells.gru(8), learning_rate=0.02).fit(X, y)
    >>> model.predict(X[:3]).shape, model.score(X, y) > 0.9
    ((3,), True)
    """

    _default_loss, _classes = "values-loss", False

    def fit(self, X: Any, y: Any) -> RNNRegressor:
        """Learn.

        Parameters
        ----------
        X : sequences
        y : (N,) or (N, outputs) numbers

        Returns
        -------
        RNNRegressor
            This one.

        Raises
        ------
        InputError
            If a setting, a shape or a dtype is wrong, or a number is NaN.
        """
        target = as_targets(y)
        if target.dtype.kind not in "iufb" or target.ndim not in (1, 2) or not target.size:
            raise InputError(f"y must be numbers (N,) or (N, outputs), got {target.dtype} of shape {target.shape}")
        values = target.astype(np.float64).reshape(len(target), -1)
        mean, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
        if self.standardize and _is_of_difference(self._loss(), values.shape[1]):
            spread = values.std(axis=0)
            mean, scale = values.mean(axis=0), np.where(spread > 0, spread, 1.0)
        self._train(X, (values - mean) / scale, values.shape[1])
        self.target_mean_, self.target_scale_, self._flat = mean, scale, target.ndim == 1
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The values of each sequence, (N,) or (N, outputs) as the targets were.

        Parameters
        ----------
        X : sequences

        Returns
        -------
        ndarray of float64

        Raises
        ------
        InputError
            If the sequences are not like those of `fit`.
        """
        found = self._outputs(X) * self.target_scale_ + self.target_mean_
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _is_of_difference(loss: Bound, outputs: int) -> bool:
    """Whether a loss stays the same where as much is added to outputs and targets."""
    check_outputs(loss, outputs)
    rng = np.random.default_rng(0)
    o, target = rng.standard_normal((8, outputs)), rng.standard_normal((8, width_of(loss, outputs)))
    with np.errstate(all="ignore"):
        here, there = (value_and_gradient(loss, o + add, target + add, gradient=False)[0] for add in (0.0, 1.0))
    return np.allclose(here, there)
