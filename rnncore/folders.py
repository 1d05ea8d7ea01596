"""Folders of what was compiled, on disk under content hashes: written whole, verified before they are opened.

A folder holds files and a checksum of each. It is made under a temporary name and renamed, so other processes see all
of it or nothing. One that does not verify, or a disk that cannot be written, costs a compilation, never a wrong result.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import shutil
import stat
import tempfile
import time
from pathlib import Path

__all__ = ["cache_folder", "checksum", "keep", "kept", "own_file", "sweep", "usable_root", "verified"]

_STALE_SECONDS = 3600  # a folder is filled in milliseconds


def own_file(name: str) -> bytes:
    """A file of the package by its path in it, wherever the package is imported from: a zip, too."""
    from importlib import resources

    return resources.files(__package__).joinpath(*posixpath.normpath(name).split("/")).read_bytes()


def cache_folder() -> Path:
    """Where kernels are kept: ``RNNCORE_CACHE_DIR``, else the user's cache folder, else one for temporary files."""
    asked = os.environ.get("RNNCORE_CACHE_DIR")
    if asked:
        return Path(asked)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "rnncore" / "kernels"
    except RuntimeError:  # a user without a home, as in containers
        return Path(tempfile.gettempdir()) / f"rnncore-kernels-{os.getuid()}"


def kept(key: str) -> dict[str, bytes] | None:
    """The files of a folder that was kept, if nobody else can have written them and they are what was written."""
    try:
        folder = cache_folder() / key
        return verified(folder) if _private(folder) else None
    except OSError:
        return None


def usable_root() -> Path | None:
    """The cache folder if it can be written and nobody else can write to it."""
    try:
        root = cache_folder()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = root.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            return None
        with tempfile.TemporaryFile(dir=root):
            return root
    except OSError:
        return None


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "SUMS"}


def checksum(data: bytes) -> str:
    """What a file's bytes are recognised by."""
    return hashlib.sha256(data).hexdigest()


def verified(folder: Path) -> dict[str, bytes] | None:
    """The files of a folder, if they are what was written."""
    try:
        files, sums = _files(folder), json.loads((folder / "SUMS").read_text())
    except (OSError, ValueError):
        return None
    return files if files and sums == {name: checksum(data) for name, data in files.items()} else None


def _private(folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def keep(key: str, files: dict[str, bytes]) -> None:
    """Write a folder, if that can be done."""
    root = usable_root()
    if root is None:
        return
    sweep(root)
    folder, final = None, root / key
    try:
        folder = Path(tempfile.mkdtemp(prefix="new-", dir=final.parent))
        _fill(folder, files)
        _publish(folder, final)
    except OSError:  # a full disk, one that vanished, or another process was first
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    sums = json.dumps({name: checksum(data) for name, data in files.items()}).encode()
    for name, data in (files | {"SUMS": sums}).items():
        with open(folder / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _publish(folder: Path, final: Path) -> None:
    if final.exists():
        if verified(final):
            shutil.rmtree(folder, ignore_errors=True)
            return
        final.rename(final.with_name(f"new-bad-{os.getpid()}-{time.time_ns()}"))
    folder.rename(final)


def sweep(root: Path) -> None:
    """Remove what killed processes left behind, and what was damaged."""
    for path in root.glob("new-*"):
        try:
            if time.time() - path.stat().st_mtime < _STALE_SECONDS:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        except OSError:
            continue
