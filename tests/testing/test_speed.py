"""What a package's benchmarks inherit: asv finds them, runs them, and finds nothing else."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rnncore as rn
from rnncore.testing import Speed

SMALL = (2, 3, 2, 4)


class Two(Speed):
    cells = ("vanilla", "gru")
    shapes = [SMALL]

    def layer(self, cell, units):
        return rn.topologies.bidirectional(super().layer(cell, units))


def test_a_subclass_has_the_parameters_of_asv():
    assert Two.params == (["vanilla", "gru"], [SMALL]) and len(Two.param_names) == 2
    assert inspect.isabstract(Speed) and not inspect.isabstract(Two)  # asv leaves abstract classes out


@pytest.mark.parametrize(("given", "text"), [
    ({"cells": "gru"}, r"Wrong.cells: expected a list of names, got 'gru'"),
    ({"cells": ["gru"], "shapes": [(2, 3, 4)]}, r"Wrong.shapes: expected \(batch, .* units\), got \(2, 3, 4\)"),
    ({"cells": ["gru"], "shapes": SMALL}, r"Wrong.shapes: expected .*, got 2"),
])  # fmt: skip
def test_what_asv_would_pass_over_is_told(given, text):
    with pytest.raises(rn.InputError, match=text):
        type("Wrong", (Speed,), given)


def test_everything_runs_and_the_ratio_is_to_the_baseline(monkeypatch):
    one = Two()
    one.setup("vanilla", SMALL)
    one.time_inference("vanilla", SMALL)
    one.time_training_step("vanilla", SMALL)
    seconds = {one.other: 6.0, one.training: 2.0}
    monkeypatch.setattr("rnncore.testing.speed._seconds", seconds.get)
    assert one.track_ratio_to_baseline("vanilla", SMALL) == 3.0


def test_an_unknown_cell_or_baseline_is_named():
    with pytest.raises(rn.InputError, match="no cell is called 'vanila'; did you mean 'vanilla'"):
        Two().setup("vanila", SMALL)

    class Against(Two):
        baseline = "lstn"

    with pytest.raises(rn.InputError, match="did you mean 'lstm'"):
        Against().setup("gru", SMALL)


PLUGIN = """
import rnncore as rn
from rnncore.lang import cell, tanh
from rnncore.testing import Speed

@rn.register
@cell
def mine(w, x, h):
    return tanh(w.h(x, h))

class Cells(Speed):
    cells = ["mine"]
    shapes = [(2, 3, 2, 4)]
"""


def test_asv_runs_the_benchmarks_of_a_package(tmp_path):
    pytest.importorskip("asv")
    root = Path(rn.__file__).parent.parent
    page = (root / "docs" / "plugins.md").read_text()
    environment = {**os.environ, "HOME": str(tmp_path), "ASV_PYTHONPATH": str(root)}
    settings = page.split("```json asv.conf.json\n")[1].split("```")[0]
    assert json.loads(settings)["benchmark_dir"] == "benchmarks"
    (tmp_path / "asv.conf.json").write_text(settings)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("")
    (tmp_path / "benchmarks" / "speed.py").write_text(PLUGIN)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-qb", "main"], ["add", "."], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    for command in (["machine", "--yes"], ["run", "--quick", "--dry-run", "--show-stderr", "-E", "existing:same"]):
        done = subprocess.run([sys.executable, "-m", "asv", *command], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, timeout=120)  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "failed" not in said, said
    for name in ("time_inference", "time_training_step", "track_ratio_to_baseline"):
        assert f"speed.Cells.{name}" in said, said
    assert "speed.Speed" not in said
