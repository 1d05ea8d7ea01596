"""Is a commit slower than another one?

``python -m benchmarks.gate main HEAD`` imports both commits, in a process each, from folders of their own, and calls
them in turns: what else the machine does meets both. A figure is the median of the ratios of neighbouring turns, with
its interval by bootstrap. It is a regression where all of the interval is above 1 and the median above ``--bound``.

Leaves with status 1 on a regression, or on a benchmark that HEAD cannot run; with status 2 where nothing was measured:
a commit that does not import, benchmarks that BASE cannot run, none of that name.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .common import arguments, table

__all__ = ["BENCHMARKS", "Side", "checkout", "compared", "judged", "run"]

PREPARE = """
import numpy as np, rnncore as rn
from rnncore import cells

def inference(layer, batch, steps, inputs):
    net = rn.Network(layer, inputs=inputs)
    run, x = net.bind(net.init(seed=0)), np.ones((batch, steps, inputs), "float32")
    return lambda: run(x)

def training(layer, batch, steps, inputs, lengths=None):
    net = rn.Network(layer, inputs=inputs)
    params, x = net.init(seed=0), np.ones((batch, steps, inputs), "float32")
    def step():
        y, _, tape = net.forward(params, x, lengths=lengths)
        net.backward(params, tape, y)
        tape.release()
    return step

def stream(layer, inputs):
    net = rn.Network(layer, inputs=inputs)
    one, x = net.stream(net.init(seed=0)), np.ones((1, inputs), "float32")
    return lambda: [one.step(x) for _ in range(100)]
"""
BENCHMARKS = {
    "inference lstm B1 T100 H64": "inference(cells.lstm(64), 1, 100, 64)",
    "inference lstm B32 T100 H128": "inference(cells.lstm(128), 32, 100, 128)",
    "inference gru B32 T100 H128": "inference(cells.gru(128), 32, 100, 128)",
    "training lstm B1 T100 H64": "training(cells.lstm(64), 1, 100, 64)",
    "training lstm B32 T100 H64": "training(cells.lstm(64), 32, 100, 64)",
    "training gru B32 T100 H128": "training(cells.gru(128), 32, 100, 128)",
    "training vanilla B32 T100 H64": "training(cells.vanilla(64), 32, 100, 64)",
    "training lstm, ragged": "training(cells.lstm(64), 32, 100, 64, np.arange(32) * 3 + 1)",
    "100 steps of a stream": "stream(cells.lstm(64), 64)",
}
WORKER = """
import json, sys, time
from pathlib import Path

answers, sys.stdout = sys.stdout, sys.stderr

def answer(value):
    print(json.dumps(value), file=answers, flush=True)

root, prepare = json.loads(sys.stdin.readline())
sys.path.insert(0, root)
made = {}
try:
    import rnncore
    if not Path(rnncore.__file__).is_relative_to(root):
        raise ImportError(f"the commit has no rnncore: {rnncore.__file__} came instead")
    exec(prepare)
    answer(None)
except BaseException as error:
    answer(f"{type(error).__name__}: {error}")
for line in sys.stdin:
    name, text, calls = json.loads(line)
    try:
        if name not in made:
            made[name] = eval(text)
            made[name]()
        start = time.perf_counter()
        for _ in range(calls):
            made[name]()
        answer((time.perf_counter() - start) / calls)
    except BaseException as error:
        answer(f"{type(error).__name__}: {error}")
"""
TURN = 0.02  # seconds of a turn, about


class Side:
    """A process that has the package of a folder imported; `failed` says why not, where it has not."""

    def __init__(self, root: Path, prepare: str = PREPARE):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], cwd=root, **pipes)  # type: ignore[call-overload]
        self.failed = self._ask([str(root.resolve()), prepare])

    def _ask(self, question) -> Any:
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            return f"the process ended with status {self.process.wait(30)}"

    def call(self, name: str, text: str, calls: int = 1) -> float | str:
        """Seconds a call, or what failed."""
        return self._ask([name, text, calls])

    def close(self) -> None:
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait(30)
        self.process.stdout.close()


def checkout(commit: str, folder: Path, repository: Path = Path()) -> Path:
    """The package of a commit in a folder of its own, importable; ``rnncore_plugins`` is its `plugins`."""
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=repository, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-xf", "-", "-C", str(folder)], input=archive, check=True)
    if (folder / "plugins").is_dir() and not (folder / "rnncore_plugins").exists():
        (folder / "rnncore_plugins").symlink_to("plugins")
    return folder


def compared(base: Side, head: Side, name: str, text: str, rounds: int) -> np.ndarray | str:
    """Ratios head/base of neighbouring turns, or what failed."""
    sides = {"base": base, "head": head}
    seconds: dict[str, Any] = {}
    for key, side in sides.items():
        side.call(name, text)  # compiles
        seconds[key] = side.call(name, text)
    calls = 1 if broken(seconds) else max(1, int(TURN / max(seconds.values())))
    ratios = []
    for k in range(rounds):
        if broken(seconds):
            return broken(seconds)
        order = ("base", "head") if k % 2 else ("head", "base")
        seconds = {key: sides[key].call(name, text, calls) for key in order}
        ratios += [] if broken(seconds) else [seconds["head"] / seconds["base"]]
    return np.array(ratios)


def broken(seconds: Mapping[str, float | str]) -> str:
    """What failed, and where."""
    return "; ".join(f"{key}: {value}" for key, value in seconds.items() if isinstance(value, str))


def judged(ratios: np.ndarray, bound: float) -> tuple[float, float, float, bool]:
    """Median, its 99 % interval by bootstrap, and whether that is a regression."""
    from scipy.stats import bootstrap

    middle = float(np.median(ratios))
    if len(ratios) < 3 or ratios.min() == ratios.max():
        return middle, float(ratios.min()), float(ratios.max()), middle > bound
    found = bootstrap((ratios,), np.median, confidence_level=0.99, method="percentile", rng=np.random.default_rng(0))
    low, high = map(float, found.confidence_interval)
    return middle, low, high, low > 1 and middle > bound


def measure(base: Side, head: Side, benchmarks: Mapping[str, str], rounds: int, bound: float):
    """Rows of the table, regressions, and the number of benchmarks that were measured."""
    rows: list[Sequence[str]] = []
    regressed: list[str] = []
    measured = 0
    for name, text in benchmarks.items():
        ratios = compared(base, head, name, text, rounds)
        if isinstance(ratios, str):
            rows.append([name, ratios, "", ""])
            if "head: " in ratios:
                regressed.append(f"{name}: {ratios}")
            continue
        measured += 1
        middle, low, high, slower = judged(ratios, bound)
        rows.append([name, f"{middle:.3f}", f"{low:.3f} to {high:.3f}", "slower" if slower else ""])
        if slower:
            regressed.append(f"{name}: {middle:.3f} of the base's time; the bound is {bound}")
    return rows, regressed, measured


def run(
    commits: Iterable[str], benchmarks: Mapping[str, str] = BENCHMARKS, *, rounds: int = 30, bound: float = 1.1,
    repository: Path = Path(), prepare: str = PREPARE,
) -> int:  # fmt: skip
    """Compare two commits, base and head, and print the table; returns the status."""
    with tempfile.TemporaryDirectory() as work:
        folders = [checkout(c, Path(work) / str(k), repository) for k, c in enumerate(commits)]
        sides = [Side(folder, prepare) for folder in folders]
        try:
            absent = [f"{key}: {side.failed}" for key, side in zip(("base", "head"), sides) if side.failed]
            rows, regressed, measured = measure(*sides, {} if absent else benchmarks, rounds, bound)
        finally:
            for side in sides:
                side.close()
    print(table(("head/base", "median", "99 % interval", ""), rows))
    for text in [*absent, *regressed]:
        print(f"failed: {text}")
    if not measured:
        print("nothing was measured")
        return 2
    return 1 if regressed else 0


def main() -> None:
    options = arguments(
        __doc__,
        ("base", "The commit to compare with."),
        ("head", "The commit in question."),
        rounds=(30, "Turns that each commit has."),
        bound=(1.1, "Times as slow as BASE at which HEAD is a regression."),
        only=("", "Benchmarks with this text in their name. By default all."),
    )
    commits = [options.base, options.head]
    benchmarks = {name: text for name, text in BENCHMARKS.items() if options.only in name}
    sys.exit(run(commits, benchmarks, rounds=options.rounds, bound=options.bound))


if __name__ == "__main__":
    main()
