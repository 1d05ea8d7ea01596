"""One command for every bar: none is left out, none that is missed is lost."""

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import __main__ as every
from benchmarks import common

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


COMMANDS = sorted(
    path.stem
    for path in Path(every.__file__).parent.glob("*.py")
    if " = arguments(" in path.read_text(encoding="utf-8") and path.stem != "common"
)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name, monkeypatch, capsys):
    parsers, made = [], common._parser
    monkeypatch.setattr(common, "_parser", lambda *given: parsers.append(made(*given)) or parsers[0])
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as left:
        import_module(f"benchmarks.{name}").main()
    assert left.value.code == 0 and "--bars N" in capsys.readouterr().out
    assert parsers[0].description and len(parsers[0]._actions) > 2
    for action in parsers[0]._actions[1:]:
        assert action.help[0].isalnum() and action.help.endswith("."), action.dest
        assert action.required or action.default == "" or f" Default: {action.default}." in action.help


def test_a_command_is_called_by_its_module():
    done = subprocess.run([sys.executable, "-m", "benchmarks.gate"], capture_output=True, text=True)
    assert done.returncode == 2 and "usage: python -m benchmarks.gate [-h]" in done.stderr
    assert "the following arguments are required: BASE, HEAD" in done.stderr
