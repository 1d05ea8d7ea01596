"""The gate between two commits: it sees a slowdown, passes equals, and never passes what it did not measure."""

import subprocess

import numpy as np
import pytest

from benchmarks.gate import Side, checkout, judged, run

PACKAGE = """
import time

def work():
    time.sleep({seconds})
"""
PREPARE = "import rnncore"
BENCHMARKS = {"work": "rnncore.work"}


@pytest.fixture
def repository(tmp_path):
    """A repository whose commits differ in how long their work takes, by tag."""
    folder = tmp_path / "repository"
    (folder / "rnncore").mkdir(parents=True)
    versions = {
        "base": PACKAGE.format(seconds=0.01),
        "slower": PACKAGE.format(seconds=0.03),
        "broken": "raise RuntimeError('no such kernel')",
        "renamed": "def other(): pass",
        "equal": PACKAGE.format(seconds=0.01) + "# the same work",
    }

    def git(*arguments):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "-q")
    for tag, text in versions.items():
        (folder / "rnncore" / "__init__.py").write_text(text)
        git("add", ".")
        git("commit", "-qm", tag)
        git("tag", tag)
    git("rm", "-qr", "rnncore")
    (folder / "README").write_text("nothing is here")
    git("add", ".")
    git("commit", "-qm", "empty")
    git("tag", "empty")
    return folder


def gate(repository, base, head, benchmarks=BENCHMARKS):
    return run([base, head], benchmarks, rounds=7, bound=1.5, repository=repository, prepare=PREPARE)


def test_equal_and_identical_commits_pass(repository):
    assert gate(repository, "base", "equal") == 0
    assert gate(repository, "base", "base") == 0


def test_a_slower_commit_fails_and_a_faster_one_passes(repository, capsys):
    assert gate(repository, "base", "slower") == 1
    assert "failed: work: " in capsys.readouterr().out
    assert gate(repository, "slower", "base") == 0


def test_a_benchmark_that_the_head_cannot_run_fails(repository, capsys):
    both = {"work": "rnncore.work", "sum": "lambda: sum(range(1000))"}
    assert gate(repository, "base", "renamed", both) == 1
    assert "head: AttributeError" in capsys.readouterr().out


@pytest.mark.parametrize("head, why", [("broken", "no such kernel"), ("empty", "the commit has no rnncore")])
def test_a_commit_that_does_not_import_is_not_passed(repository, capsys, head, why):
    assert gate(repository, "base", head) == 2
    told = capsys.readouterr().out
    assert "failed: head: " in told and why in told and "nothing was measured" in told


def test_no_benchmarks_measure_nothing(repository, capsys):
    assert gate(repository, "base", "equal", {}) == 2
    assert gate(repository, "renamed", "base") == 2  # the base cannot run it: new, and alone
    assert "nothing was measured" in capsys.readouterr().out


def test_a_process_that_dies_is_told(repository, tmp_path):
    side = Side(checkout("base", tmp_path / "base", repository), "import os; os._exit(3)")
    side.close()
    assert side.failed == "the process ended with status 3"


def test_noise_around_one_is_no_regression_and_a_shift_is():
    noise = np.exp(0.2 * np.random.default_rng(1).standard_normal(60))
    assert not judged(noise, 1.1)[-1]
    middle, low, high, slower = judged(1.3 * noise, 1.1)
    assert slower and low < middle < high
