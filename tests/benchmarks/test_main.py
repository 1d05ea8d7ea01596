"""One command for every bar: none is left out, none that is missed is lost."""

import argparse
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as every

ELSEWHERE = {"gpu", "gate"}  # they need a GPU, or two commits


def judged():
    """The benchmarks that end with a verdict."""
    folder = Path(every.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "verdict(options" in path.read_text(encoding="utf-8")}
    return found - {"__main__", "common"}


def test_every_command_with_a_bar_is_there():
    assert set(every.COMMANDS) == judged() - ELSEWHERE


def test_a_command_that_ends_in_an_error_missed_its_bars(tmp_path):
    _, missed = every.run("nothing", argparse.Namespace(threads=1, markdown=""), str(tmp_path))
    assert len(missed) == 1 and missed[0].startswith("it ended with status 1")


def test_what_is_missed_in_any_run_is_said_at_the_end(monkeypatch, capsys, tmp_path):
    given = iter([["too slow"], [], [], []])
    monkeypatch.setattr(every, "run", lambda name, options, folder: (1.0, next(given)))
    page = tmp_path / "page.md"
    page.write_text("<!-- bars -->\n<!-- /bars -->\n")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--runs", "2", "--only", "ragged,startup", "--markdown", str(page)])
    with pytest.raises(SystemExit) as ended:
        every.main()
    assert ended.value.code == 1
    assert "missed: ragged, run 1: too slow" in capsys.readouterr().out
    assert "| `benchmarks.ragged` | 1  1 | missed  met |" in page.read_text()
    assert "- ragged, run 1: too slow" in page.read_text()


def test_a_name_that_is_none_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "speed"])
    with pytest.raises(SystemExit, match="'speed' is none of compare, custom"):
        every.main()
