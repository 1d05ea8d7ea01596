"""The cells once more, in NumPy and from the papers, with what their maps read where a topology exchanges it."""

import numpy as np
import pytest


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


class Maps:
    """Affine maps by the parameters' names: ``maps("i", x=x, y=y)`` is W_xi x + W_yi y + b_i."""

    def __init__(self, params, prefix=""):
        self.params, self.prefix = params, prefix

    def __call__(self, name, bias=None, **operands):
        total = self.params[self.prefix + (bias or f"b_{name}")]
        for operand, value in operands.items():
            weight = self.params[f"{self.prefix}W_{operand}{name}"]
            total = total + (weight * value if weight.ndim == 1 else value @ weight.T)
        return total


def vanilla(w, read, h, c, fed):
    return np.tanh(w("h", **read, **fed)), c


def gru(w, read, h, c, fed):
    z, r = sigmoid(w("z", **read, **fed)), sigmoid(w("r", **read, **fed))
    return (1 - z) * h + z * np.tanh(w("n", **read, h=r * h)), c


def gru_after(w, read, h, c, fed):
    z, r = sigmoid(w("z", **read, **fed)), sigmoid(w("r", **read, **fed))
    n = w("n", "b_xn", **read) + r * w("n", f"b_{next(iter(fed))}n", **fed)
    return (1 - z) * h + z * np.tanh(n), c


def lstm(w, read, h, c, fed, peephole=False):
    def seen(memory):
        return {"c": memory} if peephole else {}

    i, f = sigmoid(w("i", **read, **fed, **seen(c))), sigmoid(w("f", **read, **fed, **seen(c)))
    c = f * c + i * np.tanh(w("g", **read, **fed))
    return sigmoid(w("o", **read, **fed, **seen(c))) * np.tanh(c), c


def peephole(w, read, h, c, fed):
    return lstm(w, read, h, c, fed, True)


EQUATIONS = {
    "vanilla": (vanilla, "vanilla", {}),
    "gru": (gru, "gru", {}),
    "gru_after": (gru_after, "gru", {"reset": "after"}),
    "lstm": (lstm, "lstm", {}),
    "lstm_diagonal": (peephole, "lstm", {"peephole": "diagonal"}),
    "lstm_full": (peephole, "lstm", {"peephole": "full"}),
}


@pytest.fixture(scope="session")
def maps():
    return Maps


@pytest.fixture(scope="session")
def equations():
    """By name: ``step(maps, read, h, c, fed) -> h, c`` and the registered cell with its options."""
    return EQUATIONS


@pytest.fixture(scope="session")
def slopes():
    """Raise unless `gradients` are the complex-step derivatives of ``objective(values)``, each along one direction."""

    def check(objective, values, gradients, bound=1e-10):
        rng = np.random.default_rng(5)
        for name, gradient in gradients.items():
            direction = rng.standard_normal(values[name].shape)
            slope = objective({**values, name: values[name] + 1e-30j * direction}).imag / 1e-30
            terms = gradient * direction
            assert abs(slope - terms.sum()) <= bound * max(np.abs(terms).sum(), 1e-3), name

    return check
