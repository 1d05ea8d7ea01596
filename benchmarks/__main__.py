"""Does every bar hold? ``python -m benchmarks`` runs the commands that have one, each in a process of its own.

Their tables are printed as they come, what was missed in which run at the end; the status is 1 if anything was, or if a
command ended in an error. ``--runs 2`` goes through all of them twice, ``--only compare,ragged`` through a few;
``--markdown docs/benchmarks.md`` writes the last table, and that of `compare`, to a page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .common import arguments, into_page, table, verdict

COMMANDS = (
    "compare", "custom", "ragged", "streaming", "compiling", "startup", "attention", "memory", "checkpointing",
    "japanese_vowels", "curves", "long_memory",
)  # fmt: skip
SLOW = {"long_memory"}  # minutes of training: what it judges is learning


@dataclass
class Outcome:
    """What the runs of a command gave: seconds, and the bars that were missed."""

    seconds: list[float] = field(default_factory=list)
    missed: list[list[str]] = field(default_factory=list)

    def row(self, name: str) -> list[str]:
        taken = "  ".join(f"{s:.0f}" for s in self.seconds)
        return [name, taken, "  ".join("missed" if texts else "met" for texts in self.missed)]


def run(name: str, options: argparse.Namespace, folder: str) -> tuple[float, list[str]]:
    """Seconds of a command, and the bars that it missed; what it prints is printed."""
    page = ["--markdown", options.markdown] if options.markdown else []
    own = {"compare": ["--rounds", "5", *page], "curves": ["--out", folder], "streaming": ["--threads", "1"]}
    start, missed, last = time.perf_counter(), list[str](), ""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--threads", str(options.threads), *own.get(name, [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
            if line.startswith("missed: "):
                missed.append(line.removeprefix("missed: ").strip())
    if process.returncode and not missed:
        missed.append(f"it ended with status {process.returncode}: {last}")
    return time.perf_counter() - start, missed


def main() -> None:
    named = ",".join(name for name in COMMANDS if name not in SLOW)
    options = arguments(
        __doc__,
        runs=(1, "How often to go through all of them."),
        only=(named, f"Which commands, of {', '.join(COMMANDS)}."),
        markdown=("", "A page to put this table and that of compare into; the curves go into pictures/ beside it."),
    )
    chosen = [name.strip() for name in options.only.split(",")]
    for name in chosen:
        if name not in COMMANDS:
            raise SystemExit(f"--only: {name!r} is none of {', '.join(COMMANDS)}")
    outcomes = {name: Outcome() for name in chosen}
    with tempfile.TemporaryDirectory() as made:
        folder = str(Path(options.markdown).parent / "pictures") if options.markdown else made  # of curves
        for k in range(options.runs):
            for name in chosen:
                print(f"\n== run {k + 1} of {options.runs}: python -m benchmarks.{name}\n", flush=True)
                seconds, missed = run(name, options, folder)
                outcomes[name].seconds.append(seconds)
                outcomes[name].missed.append(missed)
    head, rows = ("command", "seconds", "bars"), [found.row(name) for name, found in outcomes.items()]
    print("\n" + table(head, rows))
    texts = [f"{name}, run {k + 1}: {text}" for name, found in outcomes.items()
             for k, several in enumerate(found.missed) for text in several]  # fmt: skip
    if options.markdown:
        lines = ["| command | seconds of each run | bars |", "| --- | ---: | --- |"]
        lines += ["| " + " | ".join([f"`benchmarks.{row[0]}`", *row[1:]]) + " |" for row in rows]
        lines += ["", *(f"- {text}" for text in texts)] if texts else []
        into_page(options.markdown, "bars", "\n".join(lines))
    verdict(options, texts)


if __name__ == "__main__":
    main()
