"""History: records, columns, pictures."""

import io
import json

import numpy as np
import pytest

from rnncore.errors import FileError, InputError
from rnncore.train import History

RECORDS = [{"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.5, "val_loss": 0.7, "val_accuracy": 0.8}]


def test_records_and_columns():
    history = History(RECORDS)
    assert len(history) == 2 and history[-1] == RECORDS[1] and list(history) == RECORDS
    assert history.names == ("epoch", "loss", "val_loss", "val_accuracy")
    np.testing.assert_array_equal(history["val_loss"], [np.nan, 0.7])
    assert json.loads(json.dumps(history.records)) == RECORDS
    with pytest.raises(KeyError, match="no column 'lss'; there are: epoch, loss"):
        history["lss"]


def test_what_is_read_is_a_copy():
    history = History(RECORDS)
    history[0]["loss"] = history.records[0]["loss"] = 99
    assert history == History(RECORDS)
    history.append({"epoch": 3})
    assert history != History(RECORDS) and len(RECORDS) == 2


def test_plot_shows_every_curve():
    axes = History(RECORDS).plot()
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    np.testing.assert_array_equal(lines["training loss"], [0.9, 0.5])
    np.testing.assert_array_equal(lines["validation loss"], [np.nan, 0.7])
    (right,) = [a for a in axes.figure.axes if a is not axes]
    np.testing.assert_array_equal(right.get_lines()[0].get_ydata(), [np.nan, 0.8])
    assert axes.get_xlabel() == "epoch" and axes.get_legend() is not None


def test_no_curve_runs_through_the_legend_and_epochs_are_whole():
    records = [{"epoch": k, "loss": 0.5, "val_loss": 0.5, "val_accuracy": 0.5, "val_exact_match": 0.5} for k in (1, 2)]
    axes = History(records).plot()
    axes.figure.savefig(io.BytesIO(), format="png")
    legend = axes.get_legend()
    said = [text.get_text().removeprefix("validation ") for text in legend.get_texts()]
    assert said == ["training loss", "loss", "accuracy", "exact match"]
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert legend.get_window_extent().y1 <= axes.figure.bbox.y1
    assert all(tick == int(tick) for tick in axes.get_xticks())


def test_plot_on_axes_of_ones_own():
    from matplotlib.figure import Figure

    mine = Figure().subplots()
    assert History(RECORDS).plot(mine) is mine and len(mine.get_lines()) == 3
    mine.set_xscale("log")
    assert History(RECORDS).plot(mine).get_xscale() == "log"


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.PDF", "a"])
def test_pictures(tmp_path, name):
    History(RECORDS).save_plot(tmp_path / name)
    start = {"svg": b"<?xml", "PDF": b"%PDF"}.get(name[2:], b"\x89PNG")
    assert (tmp_path / name).read_bytes().startswith(start)


def test_pictures_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match="no picture format is called 'xyz'"):
        History(RECORDS).save_plot(tmp_path / "a.xyz")
    with pytest.raises(FileError, match="cannot write"):
        History(RECORDS).save_plot(tmp_path / "none" / "a.png")


def test_an_empty_history_can_be_drawn():
    assert len(History().plot().get_lines()) == 0
