"""Training a network that feeds its output back on the true one."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.combine import topology, wired
from rnncore.errors import InputError
from rnncore.lang import schedule, softmax
from rnncore.train import Dataset, Trainer


def fed_back(net, layer, *, outputs):
    y = net.state("y", outputs)
    o = net.readout(net.layer(layer, instead={"h": {"y": y}}), outputs)
    net.next("y", softmax(o), output=True)
    return o


@topology
def fed(layer, *, outputs=2):
    """The class of the step before in place of h."""
    return wired(fed_back, layer, outputs=outputs)


@schedule
def down(t, total, *, first=1.0):
    """From `first` down to 0."""
    return first * (1 - t / total)


@schedule
def notes(t, total):
    """Remembers what it was asked."""
    asked.append((t, total))
    return 1.0


asked: list = []


def parity(n=60):
    """The parity so far of bits: with the true parity before, it is one step's work."""
    rng = np.random.default_rng(0)
    x = [rng.integers(0, 2, (length, 1)).astype(float) for length in rng.integers(3, 12, n)]
    return Dataset(x, [np.cumsum(s[:, 0]).astype(int) % 2 for s in x], per_step=True)


def trainer(forcing, net=None, **options):
    given = {"epochs": 3, "learning_rate": 0.03, "progress": False, "seed": 1} | options
    net = net or rn.Network(fed(stress.simple(8)), inputs=1)
    return Trainer(net, loss=stress.entropy, optimizer=options.pop("optimizer", "adam"), teacher_forcing=forcing,
                   **{k: v for k, v in given.items() if k != "optimizer"})  # fmt: skip


def test_the_true_output_makes_it_learn_what_it_is_then_able_to_run_on_its_own():
    result = trainer("always", epochs=60).fit(parity(), parity(20))
    assert result.history[-1]["val_accuracy"] > 0.98


def test_a_ratio_is_reproducible_and_differs_from_always_and_never():
    runs = [trainer(how).fit(parity()).params.flat for how in ("always", "never", None, 0.5, 0.5, 1.0)]
    always, never, none, half, again, one = (r.tobytes() for r in runs)
    assert never == none and half == again and one == always and len({always, never, half}) == 3
    assert trainer(0.5, seed=2).fit(parity()).params.flat.tobytes() != half


def test_a_schedule_is_asked_at_every_update():
    asked.clear()
    by_schedule = trainer(notes).fit(parity()).params.flat
    assert asked == [(t, 6) for t in range(6)]
    assert np.array_equal(by_schedule, trainer("always").fit(parity()).params.flat)
    falling = [trainer(how).fit(parity()).params.flat for how in (down, down(first=1.0), down(first=0.5))]
    assert np.array_equal(falling[0], falling[1]) and not np.array_equal(falling[0], falling[2])


def test_a_killed_run_goes_on_with_the_same_coins(tmp_path):
    whole = trainer(down, epochs=4).fit(parity())
    path = tmp_path / "run"

    def killed(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(down, epochs=4, checkpoint=path, on_epoch=killed).fit(parity())
    again = trainer(down, epochs=4, checkpoint=path).fit(parity(), resume=True)
    assert np.array_equal(again.params.flat, whole.params.flat) and again.updates == whole.updates
    with pytest.raises(rn.RnncoreError, match="teacher_forcing"):
        trainer(0.5, epochs=4, checkpoint=path).fit(parity(), resume=True)


def test_with_lbfgs_a_ratio_alone_has_a_meaning():
    trainer(0.5, optimizer="lbfgs", epochs=2).fit(parity(10))
    with pytest.raises(InputError, match="a schedule of teacher_forcing has no meaning with L-BFGS"):
        trainer(down, optimizer="lbfgs")


@pytest.mark.parametrize("forcing, words", [
    (1.5, "teacher_forcing must be 'always', 'never' or a ratio"),
    ("sometimes", "no schedule is called 'sometimes'"),
    (stress.squared, "schedule: expected a name, a schedule"),
])  # fmt: skip
def test_what_cannot_be(forcing, words):
    with pytest.raises(rn.RnncoreError, match=words):
        trainer(forcing)


def test_a_schedule_that_gives_no_ratio():
    with pytest.raises(InputError, match=r"schedule down\(first=2.0\) gives 2.0, which is no ratio"):
        trainer(down(first=2.0)).fit(parity())


def test_a_network_that_feeds_nothing_back():
    plain = rn.Network(stress.simple(3), inputs=1, outputs=2)
    for forcing in ("always", down):
        with pytest.raises(InputError, match="whose last block feeds its output back"):
            trainer(forcing, net=plain)
    trainer("never", net=plain)
