"""Schedules: first and last factors, what lies between, PyTorch's definitions."""

import importlib
import math

import pytest

NAMES = ["constant", "cosine", "exponential", "inverse_sigmoid", "step", "warmup", "warmup_cosine"]


def component(name):
    return getattr(importlib.import_module(f"rnncore_plugins.schedules.{name}"), name)


def factors(name, total, **options):
    return [component(name)(**options)(t, total) for t in range(total)]


def test_constant():
    assert factors("constant", 5) == [1.0] * 5


def test_cosine():
    values = factors("cosine", 100, final=0.2)
    assert values[0] == 1.0
    assert values[50] == pytest.approx(0.6)
    assert component("cosine")(final=0.2)(100, 100) == pytest.approx(0.2)
    assert values == sorted(values, reverse=True)


def test_exponential():
    values = factors("exponential", 10, final=0.5)
    assert values[0] == 1.0
    ratios = [b / a for a, b in zip(values, values[1:], strict=False)]
    assert ratios == pytest.approx([0.5**0.1] * 9)


def test_inverse_sigmoid():
    values = factors("inverse_sigmoid", 200, k=20.0)
    assert values[0] == pytest.approx(20 / 21) and values[60] == pytest.approx(20 / (20 + math.exp(3)))
    assert component("inverse_sigmoid")(k=20.0)(20 * math.log(20), 200) == pytest.approx(0.5)
    assert values == sorted(values, reverse=True) and component("inverse_sigmoid")(k=1.0)(10**9, 1) < 1e-300
    with pytest.raises(ValueError, match="k must be at least 1, got 0.5"):
        component("inverse_sigmoid")(k=0.5)(0, 1)


def test_step():
    assert factors("step", 8, at=(0.25, 0.75), factor=0.5) == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_warmup():
    assert factors("warmup", 10, fraction=0.4) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]


def test_warmup_cosine():
    values = factors("warmup_cosine", 12, fraction=1 / 3, final=0.1)
    assert values[:4] == [0.25, 0.5, 0.75, 1.0]
    assert values[4] == 1.0
    assert values[8] == pytest.approx(0.55)
    assert component("warmup_cosine")(fraction=1 / 3, final=0.1)(12, 12) == pytest.approx(0.1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("total", [1, 2, 7])
def test_factors_are_between_0_and_1_even_past_the_end(name, total):
    for t in range(2 * total + 2):
        assert 0 <= component(name)()(t, total) <= 1 and math.isfinite(component(name)()(t, total))


@pytest.mark.peers
def test_cosine_and_exponential_equal_pytorch():
    torch = pytest.importorskip("torch")
    for name, make in {
        "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=20),
        "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, gamma=0.01 ** (1 / 20)),
    }.items():
        peer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler, theirs = make(peer), []
        for _ in range(20):
            theirs.append(peer.param_groups[0]["lr"])
            peer.step()
            scheduler.step()
        assert factors(name, 20) == pytest.approx(theirs)
