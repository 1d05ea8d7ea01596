"""Locks that a child has free after a fork, whichever thread of the parent held them."""

from __future__ import annotations

import os
from typing import Any, TypeVar
from weakref import WeakSet

__all__ = ["renewed"]

L = TypeVar("L")
_locks: WeakSet[Any] = WeakSet()


def renewed(lock: L) -> L:
    """The lock itself, which is free in a forked child: the thread that held it is not there to let it go.

    For what is whole at any moment, such as a dictionary that is looked up and written under the lock.
    """
    _locks.add(lock)
    return lock


def _renew() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
