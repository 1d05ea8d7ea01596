"""Estimators do what scikit-learn asks of its own: clone, search, pipelines, scores, pickles."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import estimator_checks

import rnncore as rn
from rnncore.estimators import RNNClassifier, RNNRegressor
from rnncore.lang import cell, constant, exp, loss, sum, tanh


@cell
def own(w, x, h):
    return tanh(w.h(x, h))


def ragged(count=36):
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((n, 2)) + 2 * (n % 2) for n in range(3, 3 + count)]
    return X, np.array(["odd" if len(s) % 2 else "even" for s in X])


def classifier(**changed):
    return RNNClassifier(**{"layer": rn.cells.gru(4), "learning_rate": 0.03, "epochs": 12} | changed)


def regressor(**changed):
    return RNNRegressor(**{"layer": rn.cells.gru(4), "learning_rate": 0.03, "epochs": 30} | changed)


def test_what_is_learned_is_predicted_and_scored():
    X, y = ragged()
    model = classifier()
    assert model.fit(X, y) is model and is_classifier(model)
    assert model.score(X, y) == np.mean(model.predict(X) == y) > 0.9
    assert model.classes_.tolist() == ["even", "odd"] and model.n_features_in_ == 2 and model.n_iter_ == 12
    chances = model.predict_proba(X)
    assert np.allclose(chances.sum(1), 1) and np.allclose(np.log(chances), model.predict_log_proba(X))
    assert np.array_equal(model.classes_[chances.argmax(1)], model.predict(X))
    assert model.decision_function(X).shape == (36,)
    assert np.array_equal(model.decision_function(X) > 0, model.predict(X) == "odd")


def test_its_outputs_are_those_of_its_network():
    X, y = ragged()
    model = classifier(epochs=1).fit(X, y)
    steps = np.concatenate(X)
    assert np.allclose(model.mean_, steps.mean(0)) and np.allclose(model.scale_, steps.std(0))
    o, _ = model.network_(model.params_, [(s - model.mean_) / model.scale_ for s in X])
    assert np.allclose(o[:, 1] - o[:, 0], model.decision_function(X), atol=1e-5)


def test_three_classes_have_a_column_each():
    X, _ = ragged()
    y = np.arange(36) % 3 + 7
    model = classifier(epochs=1).fit(X, y)
    assert model.decision_function(X).shape == model.predict_proba(X).shape == (36, 3)
    assert set(model.predict(X)) <= {7, 8, 9}


def test_sequences_of_every_form_are_the_same_sequences():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((10, 5)), np.arange(10) % 2
    objects = np.empty(10, object)
    objects[:] = [list(row) for row in X]
    said = [
        classifier(epochs=2).fit(form, y).decision_function(form)
        for form in (X, X[:, :, None], list(X), X.tolist(), objects, tuple(X), np.asfortranarray(X))
    ]
    assert all(np.array_equal(s, said[0]) for s in said)


def test_values_come_back_in_their_own_units():
    X = np.random.default_rng(0).standard_normal((60, 6, 2))
    y = 1000 + 50 * X[:, :, 0].mean(1)
    model = regressor().fit(X, y)
    assert is_regressor(model) and model.predict(X).shape == (60,) and model.score(X, y) > 0.8
    two = regressor(epochs=2).fit(X, np.stack([y, -y], 1))
    assert two.predict(X).shape == (60, 2) and np.allclose(two.target_mean_, [y.mean(), -y.mean()])
    raw = regressor(epochs=1, standardize=False).fit(X, y)
    assert raw.target_mean_ == 0 and not raw.mean_.any() and (raw.scale_ == 1).all()


@loss
def poisson(o, target):
    """Of counts, by the logarithm of their rate."""
    return sum(exp(o) - target * o)


@pytest.mark.parametrize(("name", "moved"), [
    ("mean_absolute", True), ("huber", True), ("binary_cross_entropy", False), (poisson, False),
])  # fmt: skip
def test_targets_stay_as_they_are_where_the_loss_is_not_of_a_difference(name, moved):
    X = np.random.default_rng(0).standard_normal((12, 3, 2))
    y = np.array([0, 0.5, 1] * 4)
    model = regressor(loss=name, epochs=1, learning_rate=1e-9).fit(X, y)
    assert (model.target_mean_ != 0) == (model.target_scale_ != 1) == moved
    o, _ = model.network_(model.params_, list((X - model.mean_) / model.scale_))
    assert np.allclose(model.predict(X), o[:, 0] * model.target_scale_ + model.target_mean_, atol=1e-6)
    first, _ = model.network_.loss_and_grad(
        model.params_, list((X - model.mean_) / model.scale_), (y[:, None] - model.target_mean_) / model.target_scale_,
        loss=name,
    )  # fmt: skip
    assert np.isclose(model.history_[0]["loss"], first, rtol=1e-5)


def test_a_grid_of_layers_and_rates_is_searched():
    X, y = ragged()
    grid = {"layer": [rn.cells.gru(4), own(4)], "learning_rate": [1e-4, 0.03]}
    search = GridSearchCV(classifier(), grid, cv=2, scoring="neg_log_loss").fit(X, y)
    assert search.best_params_["learning_rate"] == 0.03 and len(search.cv_results_["params"]) == 4
    assert search.predict(X[:2]).tolist() == y[:2].tolist()


def test_pipelines_and_cross_validation():
    X, y = ragged()
    halved = make_pipeline(FunctionTransformer(lambda X: [s[::2] for s in X]), classifier())
    assert cross_val_score(halved, X, y, cv=3).mean() > 0.7
    assert cross_val_predict(classifier(epochs=1), X, y, cv=2, method="predict_proba").shape == (36, 2)
    flat = np.random.default_rng(0).standard_normal((30, 7))
    scaled = make_pipeline(StandardScaler(), regressor(epochs=2)).fit(flat, flat.sum(1))
    assert scaled.predict(flat).shape == (30,)


def test_a_clone_has_the_settings_and_nothing_learned():
    X, y = ragged()
    model = classifier(layer=rn.topologies.bidirectional(own(3)), optimizer=rn.optimizers.adam(beta1=0.8), epochs=1)
    other = clone(model.fit(X, y))
    assert other.get_params()["layer"] == model.layer and other.get_params().keys() == model.get_params().keys()
    with pytest.raises(NotFittedError):
        other.predict(X)
    assert np.array_equal(other.fit(X, y).params_.flat, model.params_.flat)
    assert other.set_params(epochs=3).epochs == 3


def test_a_pickle_predicts_the_same():
    X, y = ragged()
    model = classifier(epochs=1).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))


def test_the_state_of_chance():
    X, y = ragged()
    one, two = (classifier(epochs=1, random_state=k).fit(X, y).params_.flat for k in (0, np.random.RandomState(3)))
    same = classifier(epochs=1, random_state=np.random.RandomState(3)).fit(X, y).params_.flat
    assert np.array_equal(two, same) and not np.array_equal(one, two)


def test_held_out_sequences_choose_the_epoch():
    X, y = ragged()
    model = classifier(validation_fraction=0.25, patience=2, epochs=40).fit(X, y)
    best = min(model.history_, key=lambda record: record["val_loss"])
    assert model.n_iter_ == min(40, best["epoch"] + 2)


def test_without_settings_it_is_what_the_command_trains():
    X, y = ragged()
    model = RNNClassifier(epochs=1).fit(X, y)
    usual = rn.topologies.bidirectional(rn.cells.gru(64))
    assert model.network_ == rn.Network(usual, inputs=2, outputs=2, mode="many-to-one")


def test_a_layer_may_have_a_readout_of_its_own():
    X, y = ragged(8)
    own_readout = rn.topologies.jordan(rn.cells.vanilla(3), outputs=2)
    model = classifier(layer=own_readout, epochs=1).fit(X, y)
    assert model.network_ == rn.Network(own_readout, inputs=2, mode="many-to-one")
    assert model.predict_proba(X).shape == (8, 2)
    with pytest.raises(rn.InputError, match="jordan.* has 2 outputs of its own, these targets need 3"):
        model.fit(X, np.arange(8) % 3)


def test_lbfgs_needs_no_other_setting():
    X, y = ragged()
    assert classifier(optimizer="lbfgs", epochs=2, dtype="float64").fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("estimator", [RNNClassifier, RNNRegressor])
@pytest.mark.parametrize("check", [
    "no_attributes_set_in_init", "parameters_default_constructible", "get_params_invariance", "set_params",
    "estimators_dtypes", "estimators_pickle", "estimators_overwrite_params", "dict_unchanged", "fit_idempotent",
    "estimators_unfitted", "estimators_nan_inf", "estimators_fit_returns_self", "methods_subset_invariance",
])  # fmt: skip
def test_what_scikit_learn_checks_of_its_own(estimator, check):
    """But for checks that take rows of another length, or none, for a mistake: here they are sequences."""
    model = estimator(rn.cells.gru(3), epochs=1)
    getattr(estimator_checks, f"check_{check}")(estimator.__name__, model)


@loss
def poisson_of_two(o, target):
    return sum(constant([1, 2]) * (exp(o) - target * o))


class Anything:
    pass


@pytest.mark.parametrize(("X", "text"), [
    (np.zeros(4), r"X must be \(sequences, time, features\).* got shape \(4,\)"),
    (np.zeros((4, 2, 2, 2)), r"got shape \(4, 2, 2, 2\)"),
    (Anything(), "got Anything"),
    ([], "X has no sequences"),
    (csr_array(np.eye(4)), r"X must be dense, got a sparse csr_array: give X.toarray\(\)"),
    ([np.zeros((3, 2)), np.zeros((3, 1))] * 2, r"X\[1\] has 1 feature a step, X\[0\] has 2"),
    ([np.zeros((3, 2)), "text"] * 2, r"X\[1\] must be numbers"),
    ([np.zeros((3, 2)), [None]] * 2, r"X\[1\] has NaN or infinity at step 0"),
    ([np.zeros((3, 2)), [[1, 2], [3]]] * 2, r"X\[1\] must be an array of numbers"),
    ([np.zeros((3, 2)), np.array([["a", 1]], object)] * 2, r"X\[1\] must be an array of numbers"),
    ([np.zeros((3, 2)), np.ma.masked_equal([[0, 1]], 0)] * 2, r"X\[1\] has masked elements"),
    ([np.zeros((3, 2)), np.array([[0, 1], [np.nan, 2]])] * 2, r"X\[1\] has NaN or infinity at step 1"),
    (np.ma.masked_equal(np.ones((4, 3, 2)), 1), r"X\[0\] has masked elements"),
    (np.ma.masked_equal(np.eye(4), 1), r"X\[0\] has masked elements"),
    (np.zeros((3, 2)), r"y must have one target for each of the 3 sequences of X, got 4"),
])  # fmt: skip
def test_sequences_that_cannot_be(X, text):
    with pytest.raises(rn.InputError, match=text):
        classifier().fit(X, [0, 1, 0, 1])


@pytest.mark.parametrize(("model", "y", "text"), [
    (classifier(), [0, 0, 0], r"at least two classes, got \[0\]"),
    (classifier(), [[0], [1], [0]], r"got shape \(3, 1\)"),
    (classifier(), [0.1, 0.2, 0.3], "Unknown label type: continuous"),
    (classifier(), np.array(["a", None, "b"], object), "y must be integers, texts or booleans, all of one kind"),
    (classifier(), [0.0, np.nan, 1.0], r"y\[1\] is NaN"),
    (classifier(), np.ma.masked_equal([0, 1, 2], 1), "y has masked elements"),
    (regressor(), [[1], [1, 2], [3]], "y must have one target a sequence, all of one shape"),
    (classifier(), [b"a", b"b", b"a"], "y must be integers, texts or booleans, .* as bytes"),
    (regressor(), np.ma.masked_equal([0, 1, 2], 1), "y has masked elements"),
    (regressor(loss=poisson_of_two), [0, 1, 0], "poisson_of_two' are of 2 outputs, the network has 1"),
    (classifier(loss="mean_squared"), [0, 1, 0], "loss 'mean_squared' is for values, RNNClassifier learns classes"),
    (classifier(loss="hinge"), [0, 1, 0], "no loss is called 'hinge'"),
    (classifier(layer="gru"), [0, 1, 0], "a network is made of layers and topologies"),
    (classifier(layer=rn.topologies.encoder_decoder(rn.cells.gru(2), rn.cells.gru(2), outputs=2)), [0, 1, 0],
     "mode='many-to-many', got mode='many-to-one'"),
    (classifier(epochs=0), [0, 1, 0], "epochs: expected"),
    (classifier(device="gpu"), [0, 1, 0], "device must be one of 'cpu', 'cuda', got 'gpu'"),
    (classifier(dtype="float16"), [0, 1, 0], "dtype: expected 'float32' or 'float64', got 'float16'"),
    (classifier(random_state="one"), [0, 1, 0], "cannot be used to seed"),
    (regressor(loss="cross_entropy"), [0, 1, 0], "loss 'cross_entropy' is for classes, RNNRegressor learns values"),
    (regressor(), ["a", "b", "c"], r"y must be numbers \(N,\) or \(N, outputs\), got <U1"),
    (regressor(), [0, np.nan, 1], r"y\[1\] is NaN"),
])  # fmt: skip
def test_settings_and_targets_that_cannot_be(model, y, text):
    with pytest.raises(ValueError, match=text):
        model.fit(np.zeros((3, 4, 2)), y)


def test_other_features_than_those_learned_from():
    model = classifier(epochs=1).fit(*ragged())
    with pytest.raises(rn.InputError, match=r"X\[0\] has 3 features a step, those learned from had 2"):
        model.predict(np.zeros((1, 4, 3)))


def test_without_scikit_learn_one_error_says_what_to_install():
    code = "import sys\nsys.modules['sklearn'] = None\nimport rnncore.estimators"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.rstrip().endswith("rnncore.estimators needs scikit-learn: pip install 'rnncore[sklearn]'")


def test_a_device_gives_the_same():
    code = """
import numpy as np, rnncore as rn
from rnncore.estimators import RNNRegressor
X = np.random.default_rng(0).standard_normal((4, 3, 2))
there, here = (RNNRegressor(rn.cells.vanilla(2), epochs=1, device=d).fit(X, X.sum((1, 2))) for d in ("cuda", "cpu"))
assert there.params_.device == "cuda" and np.allclose(there.predict(X), here.predict(X), atol=1e-5)
"""
    environment = {**os.environ, "RNNCORE_CUDASIM": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
