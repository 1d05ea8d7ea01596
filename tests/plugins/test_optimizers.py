"""Optimizers: their equations worked by hand, PyTorch's as an outside oracle, nothing written in place."""

import importlib
import math

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import InputError

NAMES = ["sgd", "rmsprop", "adam", "adamw"]
SLOTS = {"sgd": 1, "rmsprop": 2, "adam": 2, "adamw": 2}


def component(name):
    return getattr(importlib.import_module(f"rnncore_plugins.optimizers.{name}"), name)


def run(name, p, gradients, lr, **options):
    """Parameters after each update."""
    bound, slots, path = component(name)(**options), [np.zeros_like(p)] * SLOTS[name], []
    for t, g in enumerate(gradients, start=1):
        p, *slots = bound(p, g, t, lr, *slots)
        path.append(p)
    return path


@pytest.fixture
def problem(rng=7):
    rng = np.random.default_rng(rng)
    return rng.standard_normal(13), rng.standard_normal((9, 13))


@pytest.mark.parametrize(
    ("name", "torch_name", "options", "torch_options"),
    [
        ("sgd", "SGD", {}, {}),
        ("sgd", "SGD", {"momentum": 0.9}, {"momentum": 0.9}),
        ("sgd", "SGD", {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
        ("sgd", "SGD", {"momentum": 0.5, "weight_decay": 0.1}, {"momentum": 0.5, "weight_decay": 0.1}),
        ("rmsprop", "RMSprop", {}, {}),
        ("rmsprop", "RMSprop", {"decay": 0.9, "eps": 1e-3}, {"alpha": 0.9, "eps": 1e-3}),
        ("rmsprop", "RMSprop", {"momentum": 0.8, "weight_decay": 1.0}, {"momentum": 0.8, "weight_decay": 1}),
        ("adam", "Adam", {}, {}),
        ("adam", "Adam", {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3}, {"betas": (0.8, 0.9), "eps": 1e-3}),
        ("adam", "Adam", {"weight_decay": 0.1}, {"weight_decay": 0.1}),
        ("adamw", "AdamW", {}, {}),
        ("adamw", "AdamW", {"beta1": 0.8, "weight_decay": 0.3}, {"betas": (0.8, 0.999), "weight_decay": 0.3}),
    ],
)
@pytest.mark.peers
def test_equals_pytorch(problem, name, torch_name, options, torch_options):
    torch = pytest.importorskip("torch")
    start, gradients = problem
    theirs = torch.nn.Parameter(torch.tensor(start))
    peer = getattr(torch.optim, torch_name)([theirs], lr=0.03, **torch_options)
    for ours, g in zip(run(name, start, gradients, 0.03, **options), gradients, strict=True):
        theirs.grad = torch.tensor(g)
        peer.step()
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_sgd_by_hand():
    plain = run("sgd", np.array([1.0]), [np.array([2.0])] * 2, 0.1, momentum=0.5)
    nesterov = run("sgd", np.array([1.0]), [np.array([2.0])] * 2, 0.1, momentum=0.5, nesterov=True)
    np.testing.assert_allclose(plain, [[0.8], [0.5]])  # v = 2, then 3
    np.testing.assert_allclose(nesterov, [[0.7], [0.35]])  # g + v / 2 = 3, then 3.5


def test_rmsprop_by_hand():
    (p,) = run("rmsprop", np.array([1.0]), [np.array([2.0])], 0.1, decay=0.75)
    np.testing.assert_allclose(p, 1 - 0.1 * 2 / (math.sqrt(0.25 * 4) + 1e-8))


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_first_step_of_adam_is_the_learning_rate(name):
    """Both running means corrected for their start give g / |g| at t = 1."""
    (p,) = run(name, np.array([1.0, 1.0]), [np.array([1e-3, -5.0])], 0.1, weight_decay=0.0)
    np.testing.assert_allclose(p, [0.9, 1.1], rtol=1e-5)


def test_decay_of_adamw_is_apart_from_the_gradient():
    (p,) = run("adamw", np.array([2.0]), [np.array([0.0])], 0.1, weight_decay=0.5)
    assert p == pytest.approx(2.0 * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pure_and_of_one_dtype(problem, name, dtype):
    start, gradients = (a.astype(dtype) for a in problem)
    slots = [np.zeros_like(start)] * SLOTS[name]
    for array in (start, gradients, *slots):
        array.flags.writeable = False
    results = component(name)()(start, gradients[0], 1, 0.1, *slots)
    assert len(results) == 1 + SLOTS[name]
    assert {r.dtype for r in results} == {np.dtype(dtype)} and {r.shape for r in results} == {start.shape}


@pytest.mark.parametrize("name", NAMES)
def test_finds_the_bottom_of_a_bowl(name):
    p = np.array([1.5, -2.0])
    slots = [np.zeros(2)] * SLOTS[name]
    for t in range(1, 1501):
        p, *slots = component(name)()(p, np.array([1.0, 10.0]) * (p - 0.5), t, 0.1 / math.sqrt(t), *slots)
    np.testing.assert_allclose(p, 0.5, atol=0.02)


@pytest.mark.parametrize(
    ("name", "option", "value", "text"),
    [
        ("adam", "beta1", 2.0, "beta1 must be at least 0 and below 1, got 2.0"),
        ("adamw", "beta2", 1.0, "beta2 must be at least 0 and below 1, got 1.0"),
        ("rmsprop", "decay", -0.1, "decay must be at least 0 and below 1, got -0.1"),
        ("sgd", "momentum", -1.0, "momentum must be at least 0, got -1.0"),
        ("adam", "weight_decay", -1e-3, "weight_decay must be at least 0, got -0.001"),
    ],
)
def test_an_option_out_of_range_is_told_before_anything_is_trained(name, option, value, text):
    net = rn.Network(rn.cells.vanilla(3), inputs=2, mode="many-to-one")
    trainer = rn.train.Trainer(net, optimizer=component(name)(**{option: value}), loss="mean_squared", epochs=1)
    with pytest.raises(InputError, match=text):
        trainer.fit((np.zeros((4, 5, 2)), np.zeros((4, 3))))
