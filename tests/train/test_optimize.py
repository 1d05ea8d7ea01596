"""The optimisation step: clipping, schedules, slots, and components that break their promise."""

import math

import numpy as np
import pytest

from rnncore.errors import InputError, PluginError
from rnncore.lang import optimizer, schedule
from rnncore.train.components import resolve
from rnncore.train.optimize import Optimization, clip_by_norm, clip_by_value, global_norm, slot_names


@optimizer
def descent(p, g, t, lr):
    """p - lr g."""
    return (p - lr * g,)


@optimizer
def counting(p, g, t, lr, seen, times, *, weight=1.0):
    """Keeps the sum of gradients and the number of updates."""
    return p - lr * g, seen + weight * g, np.full_like(p, t)


@schedule
def fading(t, total):
    """From 1 to 0."""
    return 1 - t / total


def optimization(component=descent, plan=fading, rate=0.1, total=4, size=3, dtype=np.float64, **clip):
    bound = resolve("optimizer", component), resolve("schedule", plan)
    return Optimization(*bound, rate, total=total, size=size, dtype=dtype, **clip)


def test_schedule_counts_updates_from_zero():
    o, p = optimization(), np.zeros(3)
    steps = []
    for _ in range(4):
        before = p.copy()
        assert o.update(p, np.ones(3))
        steps.append(before[0] - p[0])
    np.testing.assert_allclose(steps, [0.1, 0.075, 0.05, 0.025])
    assert o.count == 4 and o.rate(1) == pytest.approx(0.075)


def test_slots_start_at_zero_and_carry_names():
    o, p = optimization(counting(weight=2.0)), np.zeros(3)
    assert slot_names(counting()) == ("seen", "times") and not any(s.any() for s in o.slots.values())
    o.update(p, np.array([1.0, 2.0, 3.0]))
    o.update(p, np.array([1.0, 0.0, 0.0]))
    assert o.slots["seen"].tolist() == [4.0, 4.0, 6.0] and o.slots["times"].tolist() == [2.0] * 3


def test_gradient_is_left_alone():
    g = np.array([3.0, 4.0, 0.0])
    g.flags.writeable = False
    optimization(clip_norm=1.0, clip_value=2.0).update(np.zeros(3), g)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_is_clipped_before_the_norm(dtype):
    p = np.zeros(3, dtype)
    o = optimization(rate=1.0, clip_value=3.0, clip_norm=2.5, dtype=dtype)
    o.update(p, np.array([100.0, -4.0, 0.0], dtype))  # to 3, -3, 0; then to length 2.5
    np.testing.assert_allclose(p, [-2.5 / math.sqrt(2), 2.5 / math.sqrt(2), 0], rtol=1e-6)
    assert o.norm == pytest.approx(3 * math.sqrt(2)) and p.dtype == dtype


def test_clipping():
    g = np.array([3.0, -4.0])
    np.testing.assert_allclose(clip_by_norm(g, 1.0), [0.6, -0.8])
    assert clip_by_norm(g, 5.0) is g and clip_by_norm(np.zeros(2), 1.0).tolist() == [0, 0]
    assert clip_by_value(g, 3.5).tolist() == [3.0, -3.5]


@pytest.mark.peers
def test_clipping_equals_pytorch():
    torch = pytest.importorskip("torch")
    g = np.random.default_rng(0).standard_normal(50)
    theirs = torch.nn.Parameter(torch.zeros(50, dtype=torch.float64))
    theirs.grad = torch.tensor(g)
    norm = torch.nn.utils.clip_grad_norm_([theirs], 0.7)
    assert global_norm(g) == pytest.approx(norm.item(), rel=1e-12)
    np.testing.assert_allclose(clip_by_norm(g, 0.7), theirs.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e-3, 1e18, 1e25, 1e38])
def test_norm_of_extremes_in_float32(scale):
    g = (np.array([3.0, 4.0]) * scale / 5).astype("float32")
    expected = np.linalg.norm(g.astype("float64"))
    assert global_norm(g) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(value):
    o, p = optimization(counting), np.ones(3)
    assert not o.update(p, np.array([1.0, value, 0.0]))
    assert (p == 1).all() and o.count == 0 and not any(s.any() for s in o.slots.values())


@optimizer
def forgetful(p, g, t, lr, slot):
    """Forgets its slot."""
    return p - lr * g


@optimizer
def widening(p, g, t, lr):
    """Leaves the dtype."""
    return (np.float64(lr) * g.astype("float64"),)


@optimizer
def refusing(p, g, t, lr, *, decay=-1.0):
    """Refuses its own default."""
    raise ValueError("decay must be above 0")


@optimizer
def short(p, g):
    """Takes too little."""
    return (p,)


@schedule
def nothing(t, total):
    """Returns nothing."""


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"component": forgetful}, PluginError, r"'forgetful' \(.*py:\d+\): expected a tuple \(p, slot\)"),
        ({"component": widening, "dtype": np.float32}, PluginError, "expected p back as float32 .* float64"),
        ({"component": refusing}, InputError, r"refusing\(decay=-1.0\).* fails: decay must be above 0"),
        ({"component": short}, PluginError, r"the parameters \(p, g, t, lr, \*slots\), got \(p, g\)"),
        ({"plan": nothing}, PluginError, "schedule 'nothing' .*: expected a finite number back, got None"),
    ],
)
def test_a_broken_component_is_told_before_anything_runs(change, error, text):
    with pytest.raises(error, match=text):
        optimization(**change)


@pytest.mark.parametrize("spec", [3, None, fading, "no_such_optimizer"])
def test_what_is_no_optimizer(spec):
    with pytest.raises(InputError, match="optimizer"):
        resolve("optimizer", spec)
