"""Classes of sequences, by the interface of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from ..errors import InputError
from .base import SequenceEstimator, as_targets

__all__ = ["RNNClassifier"]


class RNNClassifier(ClassifierMixin, SequenceEstimator):
    """A recurrent network that learns the class of a sequence, as a classifier of scikit-learn.

    Sequences, the `X` of every method, are an array (N, T, features), or (N, T) of one feature; or, of different
    lengths, a list or an array of objects with N arrays (T_i, features) or (T_i,). Of settings nothing is checked
    before `fit`.

    Parameters
    ----------
    layer : layer or topology, optional
        What the network is made of; by default what ``rnncore train`` takes, a bidirectional GRU of 64 units. One that
        feeds a readout of its own back, as `jordan`, must have an output for each class, or value.
    loss, optimizer, schedule : str or component, optional
        Names, or components with options, as `rnncore.train.Trainer` takes them; by default cross-entropy, Adam, and
        a learning rate that stays.
    learning_rate, epochs, batch_size, clip_norm, patience, dtype
        As `rnncore.train.Trainer` takes them. L-BFGS clips nothing.
    validation_fraction : float
        Share of the sequences that training holds out, stratified by class; the parameters are then those of
        the epoch with the least loss on them. 0: all is learned.
    standardize : bool
        Bring each feature to mean 0 and deviation 1, over all steps of all sequences of `fit`.
    initial_state : {"zero", "learned"}
    device : {"cpu", "cuda"}
        Where losses, gradients and predictions are computed.
    random_state : int, RandomState or None
        Of initial parameters, batches and what is held out: the same number, the same bits.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    classes_ : ndarray, (classes,)
        As they were given, in order.
    network_ : Network
    params_ : Params
    history_ : History
        A record for every epoch.
    n_iter_ : int
        Epochs that were run.
    n_features_in_ : int
        Features of a step.
    mean_, scale_ : ndarray of float64, (features,)
        What is taken from each feature, and what it is then divided by.

    Examples
    --------
    >>> import numpy as np, rnncore as rn
    >>> from rnncore.estimators import RNNClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((n, 2)) + 2 * (n % 2) for n in range(3, 40)]
    >>> y = ["odd" if len(s) % 2 else "even" for s in X]
    >>> model = RNNClassifier(rn.cells.gru(8), learning_rate=0.03).fit(X, y)
    >>> model.predict(X[:2]).tolist(), model.score(X, y) > 0.9
    (['odd', 'even'], True)
    """

    _default_loss, _classes = "loss", True

    def fit(self, X: Any, y: Any) -> RNNClassifier:
        """Learn.

        Parameters
        ----------
        X : sequences
        y : (N,) integers, texts or booleans
            The class of each.

        Returns
        -------
        RNNClassifier
            This one.

        Raises
        ------
        InputError
            If a setting, a shape or a dtype is wrong, a number is NaN, or there is one class alone.
        """
        labels = as_targets(y)
        if labels.ndim != 1:
            raise InputError(f"y must have one class a sequence, (N,), got shape {labels.shape}")
        try:
            check_classification_targets(labels)
            classes, target = np.unique(labels, return_inverse=True)
        except TypeError as error:
            raise InputError(f"y must be integers, texts or booleans, all of one kind: {error}") from error
        if len(classes) < 2:
            raise InputError(f"y must have at least two classes, got {classes.tolist()}")
        self._train(X, target.astype(np.int64), len(classes))
        self.classes_ = classes
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Outputs before the softmax.

        Parameters
        ----------
        X : sequences

        Returns
        -------
        ndarray of float64, (N, classes)
            Of two classes (N,): the second's less the first's.

        Raises
        ------
        InputError
            If the sequences are not like those of `fit`.
        """
        found = self._outputs(X)
        return found[:, 1] - found[:, 0] if found.shape[1] == 2 else found

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithm of the probability of each class, (N, classes)."""
        found = self._outputs(X)
        found = found - found.max(axis=1, keepdims=True)
        return found - np.log(np.exp(found).sum(axis=1, keepdims=True))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, (N, classes), in the order of `classes_`."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each sequence, (N,)."""
        places = self._outputs(X).argmax(axis=1)
        return self.classes_[places]
