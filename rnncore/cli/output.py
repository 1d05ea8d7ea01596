"""What the commands say, and where they write."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import FileError
from ..train.state import Interrupted

__all__ = ["make_folder", "say", "say_interrupted"]


def make_folder(path: Path) -> None:
    """Make a folder, if it is not there; raises `FileError` where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {path}: {error.strerror}") from error


def say(name: str, text: str) -> None:
    """A line on standard output: what it is about, and what there is to say."""
    print(f"{name:<12}{text}", flush=True)


def say_interrupted(stop: KeyboardInterrupt, checkpoints: Sequence[Path] | None) -> None:
    """A line on standard error: where Ctrl-C ended a command, and how to go on.

    `checkpoints`: where the command keeps what it has learned so far; None where it learns nothing.
    """
    where, kept = (f" {stop.where}", stop.kept) if isinstance(stop, Interrupted) else ("", None)
    if checkpoints is not None:
        kept = kept or " and ".join(str(path) for path in checkpoints if path.exists())
        where += f"; with --resume the same command goes on from {kept}" if kept else "; nothing is kept of it"
    print(f"rnncore: interrupted{where}", file=sys.stderr)
