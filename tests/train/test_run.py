"""Runs: what is recorded, when they stop; a killed run ends bit for bit where an unbroken one does."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnncore as rn
from rnncore.cuda import target
from rnncore.errors import FileError
from rnncore.train import Dataset, Trainer

HERE = Path(__file__).parent


def settings(**changes):
    return {
        "loss": "cross_entropy", "optimizer": "adam", "learning_rate": 0.03, "epochs": 5, "batch_size": 8,
        "progress": False, **changes,
    }  # fmt: skip


def numbers(history):
    """The records without the times that they took."""
    return [{k: v for k, v in record.items() if "second" not in k} for record in history]


def test_learns_and_records(FakeNetwork, two_classes):
    train, valid = two_classes.split(0.2)
    result = Trainer(FakeNetwork(), **settings(epochs=20)).fit(train, valid)
    assert result.stopped == "epochs" and result.updates == 20 * 6
    assert result.history[-1]["loss"] < 0.3 * result.history[0]["loss"]
    assert result.history[-1]["val_accuracy"] >= 0.9
    assert result.history.names == (
        "epoch", "loss", "val_loss", "val_accuracy", "learning_rate", "grad_norm", "seconds",
        "sequences_per_second",
    )  # fmt: skip
    assert (result.history["epoch"] == np.arange(1, 21)).all()


def test_one_seed_one_result(FakeNetwork, two_classes):
    a, b, c = (Trainer(FakeNetwork(), **settings(seed=s)).fit(two_classes) for s in (0, 0, 1))
    assert a.params == b.params and numbers(a.history) == numbers(b.history)
    assert a.params != c.params


def test_mean_over_steps_of_all_batches(FakeNetwork):
    """The epoch's loss weighs every step alike, whatever its batch; empty sequences count for nothing."""
    rng = np.random.default_rng(0)
    lengths = [1, 9, 0, 4, 2]
    x, y = ([rng.standard_normal((n, k)) for n in lengths] for k in (3, 2))
    net = FakeNetwork(mode="many-to-many")
    params = net.init(dtype="float64")
    params["readout.V"][:] = 0
    params["readout.c"][:] = 0  # the output is 0: the loss is the mean square of y
    still = {"loss": "mean_squared", "optimizer": "sgd", "learning_rate": 1e-300, "batch_size": 2}
    trainer = Trainer(net, **settings(**still))
    result = trainer.fit((x, y), params=params)
    assert result.history[0]["loss"] == pytest.approx((np.concatenate(y) ** 2).mean(), rel=1e-12)


def test_patience_keeps_the_best(FakeNetwork, two_classes):
    """What is learned does not help with noise: the run stops, the best epoch's parameters come back."""
    train, valid = two_classes.split(0.3)
    rng = np.random.default_rng(0)
    noise = Dataset([rng.standard_normal((5, 3)) for _ in range(20)], rng.integers(0, 2, 20))
    trainer = Trainer(FakeNetwork(), **settings(epochs=200, patience=4, learning_rate=0.3))
    result = trainer.fit(train, noise)
    assert result.stopped == "patience"
    assert len(result.history) == result.best_epoch + 4
    assert result.history["val_loss"].argmin() == result.best_epoch - 1
    again = Trainer(FakeNetwork(), **settings(epochs=result.best_epoch, learning_rate=0.3, keep="last"))
    assert again.fit(train, noise).params == result.params


def test_monitor_accuracy_breaks_ties_by_the_loss(FakeNetwork, two_classes):
    trainer = Trainer(FakeNetwork(), **settings(epochs=30, monitor="val_accuracy"))
    result = trainer.fit(two_classes[:50], two_classes[50:])
    history = result.history
    best = np.lexsort((history["val_loss"], -history["val_accuracy"]))[0]
    assert result.best_epoch == best + 1
    assert (history["val_accuracy"] == history["val_accuracy"].max()).sum() > 1


def test_callback_sees_records_and_stops(FakeNetwork, two_classes):
    seen = []
    trainer = Trainer(FakeNetwork(), **settings(on_epoch=lambda r: seen.append(r) or r["epoch"] == 3))
    result = trainer.fit(two_classes)
    assert result.stopped == "callback" and seen == result.history.records and len(seen) == 3


def test_divergence_is_told_and_the_best_kept(FakeNetwork, two_classes):
    net = FakeNetwork()
    honest = net.loss_and_grad

    def breaks_down(*args, **kwargs):
        value, grads = honest(*args, **kwargs)
        return (value if net.calls < 20 else float("nan")), grads

    net.loss_and_grad = breaks_down
    with pytest.warns(RuntimeWarning, match="diverged in epoch 3, after 19 updates"):
        result = Trainer(net, **settings(keep="best")).fit(two_classes)
    assert result.stopped == "diverged" and len(result.history) == 2
    assert np.isfinite(result.params.flat).all()


def test_lbfgs_converges_and_goes_on_in_double(FakeNetwork, two_classes):
    net = FakeNetwork()
    result = Trainer(net, **settings(optimizer="lbfgs", epochs=40)).fit(two_classes)
    assert result.history[-1]["loss"] < 0.05 and result.params.dtype == np.float32
    assert "learning_rate" not in result.history.names
    assert net.calls < 40 * 20 * 8


def run(folder, FakeNetwork, two_classes, resume=False, **changes):
    changes = {"checkpoint": folder / "checkpoint", **changes}
    trainer = Trainer(FakeNetwork(), **settings(**changes))
    return trainer.fit(two_classes[:44], two_classes[44:], resume=resume)


@pytest.mark.parametrize("changes", [{"schedule": "constant"}, {"optimizer": "lbfgs"}])
def test_more_epochs_go_on_where_fewer_ended(tmp_path, FakeNetwork, two_classes, changes):
    whole = run(tmp_path, FakeNetwork, two_classes, checkpoint=None, epochs=6, **changes)
    run(tmp_path, FakeNetwork, two_classes, epochs=2, **changes)
    result = run(tmp_path, FakeNetwork, two_classes, resume=True, epochs=6, **changes)
    assert result.params == whole.params and numbers(result.history) == numbers(whole.history)


@pytest.mark.parametrize("every, kept", [(None, "epoch 2"), (5, "3 batches of epoch 3")])
def test_an_interrupted_run_says_what_its_checkpoint_holds(
    tmp_path, FakeNetwork, two_classes, monkeypatch, every, kept
):  # fmt: skip
    step, calls = FakeNetwork.loss_and_grad, []

    def stop(*given, **options):
        calls.append(given)
        if len(calls) in (2, 19, 20):  # an epoch has 6 batches
            raise KeyboardInterrupt
        return step(*given, **options)

    monkeypatch.setattr(FakeNetwork, "loss_and_grad", stop)
    given = tmp_path, FakeNetwork, two_classes
    with pytest.raises(KeyboardInterrupt, match="^in epoch 1 of 6; no checkpoint was written$"):
        run(*given, epochs=6, checkpoint_updates=every)
    how = f"fit(..., resume=True) goes on from {tmp_path / 'checkpoint'}, after {kept}"
    for resume in (False, True):  # the second is interrupted before it comes to anything
        with pytest.raises(KeyboardInterrupt) as stopped:
            run(*given, epochs=6, checkpoint_updates=every, resume=resume)
        assert str(stopped.value) == f"in epoch 3 of 6; {how}"


def test_resuming_what_is_over_gives_it_back(tmp_path, FakeNetwork, two_classes):
    done = run(tmp_path, FakeNetwork, two_classes)
    again = run(tmp_path, FakeNetwork, two_classes, resume=True)
    assert again.params == done.params and again.history == done.history and again.seconds == done.seconds


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_size": 9}, "batch_size was 8, now it is 9"),
        ({"seed": 4}, "seed was 0, now it is 4"),
        ({"optimizer": "sgd"}, "optimizer was .*adam.*, now it is .*sgd"),
        ({"loss": "mean_squared"}, "loss was"),
        ({"schedule": "cosine"}, "schedule was"),
        ({"dtype": "float64"}, "dtype was float32, now it is float64"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, FakeNetwork, two_classes, change, named):
    run(tmp_path, FakeNetwork, two_classes, epochs=1)
    if change == {"loss": "mean_squared"}:
        two_classes = Dataset([np.ones((2, 3))] * 60, np.ones((60, 2)))
    with pytest.raises(FileError, match=f"checkpoint is of another run: {named}"):
        run(tmp_path, FakeNetwork, two_classes, resume=True, **change)


def test_a_checkpoint_of_other_data_is_refused(tmp_path, FakeNetwork, two_classes):
    run(tmp_path, FakeNetwork, two_classes, epochs=1)
    with pytest.raises(FileError, match="training data was"):
        run(tmp_path, FakeNetwork, two_classes[::-1], resume=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the run is killed in a forked child")
@pytest.mark.parametrize(("optimizer", "every", "seed"), [("adam", 1, 0), ("rmsprop", 3, 4), ("lbfgs", 0, 4)])
def test_killed_at_any_moment_ends_bit_for_bit(tmp_path, optimizer, every, seed):
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    broken.mkdir()
    whole.mkdir()
    script = [sys.executable, str(HERE / "killed.py"), str(broken), optimizer, str(every), str(seed)]
    told = subprocess.run(script, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["exit"] == 0 and report["deaths"] > 3
    assert {"in a batch", "half written"} <= set(report["where"])
    assert optimizer == "lbfgs" or len(report["where"]) == 5
    _script("killed").train(whole, optimizer, every or None, resume=False)
    assert (broken / "result").read_text() == (whole / "result").read_text()
    assert sorted(p.name for p in broken.iterdir()) == ["checkpoint", "deaths", "result"]


def _script(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(target.missing() is not None, reason="needs a GPU or the simulator")
@pytest.mark.parametrize("change", [{}, {"truncate": 2}, {"optimizer": "lbfgs"}, {"gradient_checkpoint": 2}], ids=str)
def test_a_run_is_where_its_parameters_are(change):
    """On a GPU as on the CPU, but for rounding; the optimizer and what is kept are the host's."""
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((n, 2)) for n in (3, 1, 4, 2, 3)]
    data = Dataset(x, [rng.integers(0, 2, len(s)) for s in x])
    net = rn.Network(rn.cells.gru(3), inputs=2, outputs=2)
    params = net.init(seed=0, dtype="float64")
    trainer = Trainer(net, **settings(epochs=2, batch_size=3, dtype="float64", **change))
    want, got = trainer.fit(data, data, params=params), trainer.fit(data, data, params=params.to("cuda"))
    assert (want.params.device, got.params.device) == ("cpu", "cuda") and params.device == "cpu"
    bound = 1e-4 if change.get("optimizer") == "lbfgs" else 1e-9  # its line searches stop by a tolerance
    np.testing.assert_allclose(got.params.to("cpu").flat, want.params.flat, rtol=0, atol=bound)
    assert got.history[-1]["val_loss"] == pytest.approx(want.history[-1]["val_loss"], rel=1e-6)


@pytest.mark.skipif(target.missing() is not None, reason="needs a GPU or the simulator")
def test_a_run_on_a_gpu_is_resumed_there_and_rounds_as_it_was_asked_to(tmp_path):
    x = [np.ones((n, 2)) for n in (3, 1, 2)]
    net, data = rn.Network(rn.cells.gru(2), inputs=2, outputs=2), Dataset(x, [np.zeros(len(s), int) for s in x])
    params, path = net.init(seed=0).to("cuda", products="bf16"), tmp_path / "run"
    whole = Trainer(net, **settings(epochs=2)).fit(data, params=params)
    Trainer(net, **settings(epochs=1, checkpoint=path)).fit(data, params=params)
    again = Trainer(net, **settings(epochs=2, checkpoint=path)).fit(data, params=params, resume=True)
    assert again.params == whole.params and (again.params.device, again.params.products) == ("cuda", "bf16")
