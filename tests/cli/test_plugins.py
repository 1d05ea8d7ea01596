"""`rnncore plugins` and `rnncore explain`: what is there, from where, with equations."""

import warnings

import pytest

import rnncore.registry as registry
from rnncore.cli import main
from rnncore.entries import Failure


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_current", registry.current())

    def go(*argv):
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in argv])
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return go


CELL = '''
from rnncore.lang import cell, sigmoid

@cell
def leaky(w, x, h, *, rate=0.5):
    """A leaky unit. Nobody, 1999."""
    return (1 - rate) * h + rate * sigmoid(w.h(x, h))
'''


def test_everything_is_listed_with_its_origin(run):
    status, out, _ = run("plugins")
    assert status == 0
    current = registry.current()
    for names in current.entries.values():
        for name, (entry,) in names.items():
            assert f"  {name}" in out and entry.origin in out and entry.value.summary in out
    assert "failed" not in out


def test_a_kind_or_a_name_may_be_asked_for(run):
    _, kind, _ = run("plugins", "cell")
    assert "lstm" in kind and "optimizers" not in kind and "def lstm" not in kind
    _, one, _ = run("plugins", "lstm")
    assert "def lstm(" in one and "gru" not in one
    _, full, _ = run("plugins", "cell", "--equations")
    assert "def lstm(" in full and "def gru(" in full


def test_a_file_of_the_users_own_is_listed_too(run, tmp_path):
    (tmp_path / "mine.py").write_text(CELL)
    _, out, _ = run("plugins", "--plugin", "mine.py", "leaky")
    assert "leaky  (rate=0.5)" in out and "A leaky unit. Nobody, 1999." in out
    assert "mine.py:5" in out and "rate * sigmoid(w.h(x, h))" in out


def test_failures_are_listed(run, monkeypatch):
    current = registry.current()
    failed = registry.Registry(current.entries, current.topics, (Failure("broken-dist", "it broke"),))
    monkeypatch.setattr(registry, "_current", failed)
    _, out, _ = run("plugins")
    assert "plugin 'broken-dist': it broke" in out


def test_a_warning_of_a_broken_plugin_is_one_line(run, monkeypatch):
    current = registry.current()
    failed = registry.Registry(current.entries, current.topics, (Failure("broken-dist", "it broke"),))
    monkeypatch.setattr(registry, "_current", None)
    monkeypatch.setattr(registry, "build", lambda: failed)
    with warnings.catch_warnings():
        status, _, err = run("plugins", "cell")
    assert status == 0
    assert err == "rnncore: warning: plugin 'broken-dist': it broke; everything else works\n"


def test_explain_shows_equations_and_source(run, tmp_path):
    (tmp_path / "mine.py").write_text(CELL)
    status, out, _ = run("explain", "leaky", "--units", 3, "--plugin", "mine.py", "--option", "rate=0.25")
    assert status == 0
    assert "A leaky unit" in out and "sigmoid" in out and "def kernel" in out
