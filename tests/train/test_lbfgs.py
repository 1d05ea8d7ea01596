"""L-BFGS by SciPy: rounds on a function whose minimum is known."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from rnncore.errors import InputError
from rnncore.train import LBFGS
from rnncore.train.lbfgs import minimize_round


def rosenbrock(v):
    return float(rosen(v)), rosen_der(v)


def test_finds_the_minimum_and_says_so():
    found = minimize_round(rosenbrock, np.zeros(4), LBFGS(iterations=200))
    np.testing.assert_allclose(found.flat, 1, atol=1e-4)
    assert found.finished and found.iterations < 200 and found.loss < 1e-8


def test_rounds_go_on_from_one_another():
    flat, rounds = np.zeros(4), 0
    for rounds in range(1, 40):  # noqa: B007
        found = minimize_round(rosenbrock, flat, LBFGS(iterations=8, memory=3))
        assert found.iterations <= 8 and found.loss <= rosen(flat)
        flat = found.flat
        if found.finished:
            break
    assert 1 < rounds < 39
    assert rosen(flat) < 1e-5  # the valley is flat: rounding decides where in it the search ends


def test_single_precision_is_asked_and_given():
    def objective(v):
        assert v.dtype == np.float32
        return rosenbrock(v.astype("float64"))

    found = minimize_round(objective, np.zeros(3, "float32"), LBFGS(iterations=50))
    assert found.flat.dtype == np.float32 and found.loss < 1e-3


def test_no_finite_value_anywhere():
    found = minimize_round(lambda v: (np.nan, v), np.zeros(3), LBFGS())
    assert not np.isfinite(found.loss) and not found.flat.any()


@pytest.mark.parametrize("settings", [{"iterations": 0}, {"memory": 0}])
def test_settings_of_no_meaning(settings):
    with pytest.raises(InputError, match="at least 1"):
        LBFGS(**settings)
