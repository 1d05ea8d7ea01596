"""The plain recurrent network against a loop in NumPy and ONNX Runtime's operator."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import LanguageError
from rnncore.testing import close

ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "identity": lambda a: a,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_loop_in_numpy(activation):
    rng = np.random.default_rng(1)
    net = rn.Network(rn.cells.vanilla(6, activation=activation), inputs=4)
    p = net.init(dtype="float64")
    assert list(p) == ["W_xh", "W_hh", "b_h"]
    p["b_h"][:] = rng.standard_normal(6)
    x, h = rng.standard_normal((3, 5, 4)), np.zeros((3, 6))
    y, state = net(p, x)
    for t in range(5):
        h = ACTIVATIONS[activation](x[:, t] @ p["W_xh"].T + h @ p["W_hh"].T + p["b_h"])
        close(f"output at step {t}", y[:, t], h, 1e-12)
    close("final h", state["h"], h, 1e-12)


def test_the_operator_of_onnx(operator, stack):
    rng = np.random.default_rng(2)
    net = rn.Network(rn.cells.vanilla(21), inputs=5)
    params = net.init(seed=3)
    x, lengths = rng.standard_normal((4, 11, 5)).astype("float32"), np.array([11, 1, 7, 4])
    start = rng.standard_normal((1, 4, 21)).astype("float32")
    bias = np.concatenate([params["b_h"], np.zeros_like(params["b_h"])])[None]
    arrays = {"W": stack(params, [""], "W_x", "h"), "R": stack(params, [""], "W_h", "h"), "B": bias}
    want, final = operator("RNN", arrays, x, lengths, {"h": start})
    y, state = net(params, x, lengths=lengths, state={"h": start[0]})
    close("output", y, want, 2e-5)
    close("final h", state["h"], final["h"][0], 2e-5)


def test_an_unknown_activation_is_an_error():
    with pytest.raises(LanguageError, match="activation must be one of tanh, relu, sigmoid, identity, got 'elu'"):
        rn.Network(rn.cells.vanilla(3, activation="elu"), inputs=2)
