"""Functions of the language: on plain numbers NumPy's meaning, on symbols what their definitions say."""

import numpy as np
import pytest

import rnncore as rn
from rnncore import lang
from rnncore.lang.trace import trace
from rnncore.reference import evaluate

a = np.array([[-1.5, 0.25, 2.0], [0.5, -3.0, 1.0]])
b = np.array([[0.5, -0.75, 2.0], [1.0, 4.0, -2.0]])


def softmax(v):
    e = np.exp(v - v.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(v):
    d = v - v.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5)


MEANING = {
    "exp": np.exp, "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "softplus": lambda v: np.log1p(np.exp(v)), "relu": lambda v: np.maximum(v, 0), "abs": np.abs,
    "sum": lambda v: v.sum(-1), "mean": lambda v: v.mean(-1), "max": lambda v: v.max(-1),
    "norm": lambda v: np.sqrt((v * v).sum(-1)), "softmax": softmax, "layer_norm": layer_norm,
    "stop_gradient": lambda v: v,
}  # fmt: skip
OF_TWO = {"maximum": np.maximum, "minimum": np.minimum, "dot": lambda v, u: (v * u).sum(-1)}
POWERS = [0, 1, 2, 3, 8, 0.5, -1, -2, 1.5, -0.5, 10]


def on_symbols(fn, *operands):
    """The value of ``fn(h, c)`` for each row."""

    def step(w, x, h, c):
        value = fn(*(h, c)[: len(operands)])
        return value + 0 * h, c

    leaves = {("state", name): v for name, v in zip("hc", operands, strict=False)}
    return evaluate({"y": trace(step, {}).roots["next.h"]}, leaves, {"units": 3})["y"]


def as_rows(value):
    return value[:, None] + np.zeros((2, 3)) if np.ndim(value) == 1 else value


@pytest.mark.parametrize("name", [*MEANING, "log", "sqrt"])
def test_a_function_of_one_value(name):
    value = abs(a) if name in ("log", "sqrt") else a
    want = MEANING.get(name) or getattr(np, name)
    np.testing.assert_allclose(on_symbols(getattr(lang, name), value), as_rows(want(value)), rtol=1e-14)


@pytest.mark.parametrize("name", OF_TWO)
def test_a_function_of_two_values(name):
    np.testing.assert_allclose(on_symbols(getattr(lang, name), a, b), as_rows(OF_TWO[name](a, b)), rtol=1e-14)


def test_where():
    got = on_symbols(lambda h, c: lang.where(h > c, h, 2 * c), a, b)
    np.testing.assert_array_equal(got, np.where(a > b, a, 2 * b))


@pytest.mark.parametrize("name", MEANING)
def test_on_plain_vectors_they_mean_what_numpy_means(name):
    np.testing.assert_allclose(getattr(lang, name)(a[0]), MEANING[name](a[0]), rtol=1e-14)


def test_plain_numbers_stay_plain():
    assert lang.tanh(0.0) == 0.0 and lang.maximum(1, 2) == 2 and lang.where(True, 1.0, 2.0) == 1.0
    assert isinstance(lang.exp(1.0), float)


@pytest.mark.parametrize("exponent", POWERS)
def test_powers(exponent):
    np.testing.assert_allclose(on_symbols(lambda h: h**exponent, abs(a)), abs(a) ** exponent, rtol=1e-13)


def test_whole_powers_of_negative_numbers():
    np.testing.assert_allclose(on_symbols(lambda h: h**3 + h**-2, a), a**3 + 1 / a**2, rtol=1e-14)


def test_operators_and_their_mirrors():
    got = on_symbols(lambda h, c: (1 - h) / (3 + c) * 3 - (h - 1) / c + (+h) - abs(-c), a, b)
    np.testing.assert_allclose(got, (1 - a) / (3 + b) * 3 - (a - 1) / b + a - abs(b), rtol=1e-14)


@pytest.mark.parametrize("number", [np.float64(2), np.int32(2), np.float32(2)])
def test_numpy_numbers_on_either_side(number):
    np.testing.assert_array_equal(on_symbols(lambda h: number * h + h / number, a), 2 * a + a / 2)


def test_the_derivative_of_a_length_at_zero_is_zero():
    @lang.cell
    def fn(w, x, h):
        return lang.norm(h) * w.v.init(1.0) + 0.5 * h

    net = rn.Network(fn(3), inputs=1)
    params, x = net.init(dtype="float64"), np.zeros((2, 4, 1))
    start = {"h": np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])}
    y, _, tape = net.forward(params, x[:, :1], state=start)
    _, dstate, _ = net.backward(params, tape, np.ones(y.shape))
    np.testing.assert_allclose(y[:, 0], [[0, 0, 0], [6.5, 5, 7]])
    np.testing.assert_allclose(dstate["h"], [[0.5] * 3, [2.3, 0.5, 2.9]])
    assert np.isnan(net(params, x, state={"h": np.full((2, 3), np.nan)})[0]).all()


def test_softmax_does_not_overflow():
    big = np.array([[1000.0, 999.0, -1000.0]])
    np.testing.assert_allclose(on_symbols(lang.softmax, big), softmax(big), rtol=1e-13)


def test_every_public_name_is_there():
    assert all(hasattr(lang, name) for name in lang.__all__)


def test_an_unknown_name_is_told_with_the_nearest_one():
    with pytest.raises(AttributeError, match="did you mean 'sigmoid'"):
        lang.sigmoyd  # noqa: B018
    assert not hasattr(lang, "no_such_function")
