"""The progress bar: on standard error, with loss and sequences per second, or not at all."""

from rnncore.train import Trainer


def fit(FakeNetwork, two_classes, **settings):
    Trainer(FakeNetwork(), loss="cross_entropy", batch_size=8, epochs=3, **settings).fit(
        two_classes[:40], two_classes[40:]
    )


def test_shows_loss_and_speed_on_standard_error(FakeNetwork, two_classes, capsys):
    fit(FakeNetwork, two_classes, optimizer="adam")
    out, err = capsys.readouterr()
    last = err.split("\r")[-1]
    assert out == "" and "120/120" in last and "seq/s" in last and "epoch 3/3" in last
    assert "loss=" in last and "val_accuracy=" in last


def test_counts_evaluations_of_lbfgs(FakeNetwork, two_classes, capsys):
    fit(FakeNetwork, two_classes, optimizer="lbfgs")
    assert "seq/s" in capsys.readouterr().err


def test_can_be_silent(FakeNetwork, two_classes, capsys):
    fit(FakeNetwork, two_classes, optimizer="adam", progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_resumed_run_counts_what_is_behind(FakeNetwork, two_classes, capsys, tmp_path):
    settings = {"optimizer": "adam", "checkpoint": tmp_path / "c", "batch_size": 8, "loss": "cross_entropy"}
    Trainer(FakeNetwork(), epochs=2, **settings, progress=False).fit(two_classes)
    Trainer(FakeNetwork(), epochs=3, **settings).fit(two_classes, resume=True)
    err = capsys.readouterr().err
    assert "120/180" in err and "180/180" in err
