"""How many threads a call may use: what the user, the system and threadpoolctl allow.

threadpoolctl finds thread pools by the shared libraries that are loaded. rnncore's loops are in none; it is found by
NumPy's, which every network loads.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path

__all__ = ["announce", "processors_allowed", "quota", "threads_allowed"]

_OTHERS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")  # what loky and batch systems set for each process
_LIBRARY = "_multiarray_umath"
_mine = threading.local()  # the limit that threadpoolctl has set in this thread


def threads_allowed() -> int:
    """Threads a call from this thread may use.

    ``RNNCORE_NUM_THREADS``; else the processors given to this process, or fewer where ``OMP_NUM_THREADS`` or
    ``NUMBA_NUM_THREADS`` say so. A limit of threadpoolctl's in this thread holds for both.

    Raises
    ------
    InputError
        ``RNNCORE_NUM_THREADS`` is no positive integer.
    """
    limit = getattr(_mine, "limit", None)
    return _asked() if limit is None else min(_asked(), limit)


def _asked() -> int:
    asked = os.environ.get("RNNCORE_NUM_THREADS")
    if not asked:
        return _given()
    if not asked.isdigit() or int(asked) < 1:
        from ..errors import InputError

        raise InputError(f"RNNCORE_NUM_THREADS must be a positive integer, got {asked!r}")
    return int(asked)


def _given() -> int:
    allowed = processors_allowed()
    processors = len(allowed) if allowed else os.cpu_count() or 1
    return min(processors, *_others(), quota() or processors)


@lru_cache(maxsize=1)
def _others() -> tuple[int, ...]:
    """What other libraries' variables say, as they do: when the process begins."""
    first = [os.environ.get(name, "").split(",")[0].strip() for name in _OTHERS]  # a list has a number for each level
    return tuple(int(number) for number in first if number.isdigit() and int(number))


def processors_allowed() -> frozenset[int] | None:
    """Processors given to this thread; None where the system does not tell."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:
        return None


@lru_cache(maxsize=4)
def quota(groups: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> int | None:
    """Processors' worth of time that the control groups of this process grant, rounded up; None where they set none."""
    try:
        lines = [line.split(":", 2) for line in Path(groups).read_text().splitlines()]
    except OSError:
        return None
    found = []
    for number, controllers, path in lines:
        if number == "0":
            found += _shares(Path(root), path, _of_second)
        elif "cpu" in controllers.split(","):
            found += _shares(Path(root) / controllers, path, _of_first)
            found += _shares(Path(root) / "cpu", path, _of_first)
    return min(found, default=None)


def _shares(root: Path, path: str, read) -> list[int]:
    """What a group and those above it grant; a container sees its own group at the root."""
    here = root / path.lstrip("/")
    found = []
    for folder in (here, *here.parents):
        if folder.is_relative_to(root):
            try:
                granted, period = read(folder)
                if granted > 0:
                    found.append(-(-granted // period))
            except (OSError, ValueError):  # no such group here, or no limit
                continue
    return found


def _of_second(folder: Path) -> tuple[int, int]:
    granted, period = (folder / "cpu.max").read_text().split()
    return int(granted), int(period)


def _of_first(folder: Path) -> tuple[int, int]:
    granted, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(granted), int(period)


def announce() -> None:
    """Make rnncore known to threadpoolctl, as ``user_api="rnncore"``, if that is installed."""
    try:
        from threadpoolctl import LibController, register
    except ImportError:
        return

    class RnncoreController(LibController):
        """rnncore's threads; a limit holds in the thread that sets it, as OpenMP's does."""

        user_api = internal_api = "rnncore"
        filename_prefixes = (_LIBRARY,)

        def get_num_threads(self):
            from ..errors import InputError

            try:
                return threads_allowed()
            except InputError:  # told by the call that needs the number
                return _given()

        def set_num_threads(self, num_threads):
            _mine.limit = num_threads if num_threads < self._unlimited() else None

        def _unlimited(self):
            before, _mine.limit = getattr(_mine, "limit", None), None
            try:
                return self.get_num_threads()
            finally:
                _mine.limit = before

        def get_version(self):
            from .. import __version__

            return __version__

    register(RnncoreController)
