"""What the commands say, and where they write."""

from pathlib import Path

from ..errors import FileError

__all__ = ["make_folder", "say"]


def make_folder(path: Path) -> None:
    """Make a folder, if it is not there; raises `FileError` where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {path}: {error.strerror}") from error


def say(name: str, text: str) -> None:
    """A line on standard output: what it is about, and what there is to say."""
    print(f"{name:<12}{text}", flush=True)
