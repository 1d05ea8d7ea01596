"""The interpreter: levels, broadcasting, precisions."""

import numpy as np
import pytest

from rnncore.lang import constant, scalar, softmax, sum, tanh, where
from rnncore.lang.trace import trace
from rnncore.reference import evaluate

rng = np.random.default_rng(0)
SIZES = {"units": 3, "x": 2}


def value(fn, **arrays):
    step = trace(fn, {})
    leaves = {("array", k): v for k, v in step.arrays.items()}
    for name, array in arrays.items():
        kind = "input" if name in ("x", "dt") else "state" if name in ("h", "c") else "param"
        leaves[kind, name] = array
    return evaluate(dict(step.roots), leaves, SIZES | {"dt": 1})["next.h"]


h, x = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
W_xa, W_ha, b_a = rng.standard_normal((3, 2)), rng.standard_normal((3, 3)), rng.standard_normal(3)


@pytest.mark.parametrize("kind", [float, complex, np.longdouble])
def test_an_affine_map_in_the_precision_of_its_arrays(kind):
    got = value(lambda w, x, h: w.a(x, h), x=x.astype(kind), h=h.astype(kind), W_xa=W_xa, W_ha=W_ha, b_a=b_a)
    np.testing.assert_allclose(got, x @ W_xa.T + h @ W_ha.T + b_a, rtol=1e-14)
    assert got.dtype == kind


def test_scalars_of_every_level_meet_vectors():
    dt = rng.standard_normal((4, 1))

    def fn(w, x, h, *, dt):
        return scalar(dt) * h + scalar(w.s) * sum(h) + 2.0 * w.v

    s, v = np.float64(0.5), rng.standard_normal(3)
    want = dt * h + s * h.sum(1, keepdims=True) + 2 * v
    np.testing.assert_allclose(value(fn, x=x, h=h, dt=dt, s=s, v=v), want)


def test_reductions_of_what_is_the_same_for_every_unit():
    np.testing.assert_allclose(value(lambda w, x, h: h * sum(0 * h + 2.0), h=h, x=x), 6 * h)
    np.testing.assert_allclose(value(lambda w, x, h: softmax(where(h > 9, h, 1.0)), h=h, x=x), np.full((4, 3), 1 / 3))


def test_constants_and_matrices_made_of_parameters():
    mask = np.triu(np.ones((3, 3)))

    def fn(w, x, h):
        from rnncore.lang import mapped

        return w.a(mapped(h, lambda W: W.T * constant(mask)), bias=False) + constant([1.0, 2.0, 3.0])

    np.testing.assert_allclose(value(fn, h=h, x=x, W_ha=W_ha), h @ (W_ha.T * mask).T + [1, 2, 3])


def test_what_is_not_finite_goes_through_in_silence():
    bad = np.array([[np.nan, np.inf, -np.inf]])
    got = value(lambda w, x, h: tanh(h) + 0 * h, h=bad, x=x[:1])
    assert np.isnan(got).all()
