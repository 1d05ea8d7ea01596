"""Threads for one call. One call at a time has them; another one runs alone, and takes one of them away.

The work of a call is cut into more tasks than there are threads, and a thread takes the next one when it is
ready. So a thread that shares its core with other programs takes fewer, one that comes when all is done takes
none, and nobody waits for a thread that has not begun. Callers and workers together are never more than a call
may use: when another call comes, a worker leaves after the task that it is at. Workers live in compiled code, asleep
on a pipe: they never ask for the interpreter's lock. After a fork the child starts threads of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from .board import DONE
from .limits import processors_allowed, threads_allowed
from .machine import processor
from .memory import address_of
from .store import exported, load_module

__all__ = ["available_threads", "launch_address", "room_address", "run_team", "wait_address", "with_team"]

_WORKERS = 64  # places for workers, where there are no more processors
_BOX = 16  # int64 of a worker's box: state, function, job, its number, the end of the pipe that wakes it
_room = np.zeros(1, np.int64)  # workers that may go on

_TEXT = """\
from numba import cfunc
from rnncore.cpu.atomics import (
    compare_exchange, fetch_add, load_acquire, read_byte, store_release, write_byte, yield_thread)
from rnncore.cpu.lanes import call, load_int, store_int
from rnncore.cpu.lower import addresses, lowered

call_work = call(2)
IDLE, POSTED, RUNNING = 0, 1, 2


@lowered
def serve(box, wakes):
    while True:
        read_byte(wakes)
        if compare_exchange(box, POSTED, RUNNING) == POSTED:
            call_work(load_int(box + 8), (load_int(box + 16), load_int(box + 24)))
            store_release(box, IDLE)


@lowered
def launch(boxes, workers, work, job):
    for k in range(workers):
        box = boxes + k * 128
        store_int(box + 8, work)
        store_int(box + 16, job)
        store_release(box, POSTED)
        write_byte(load_int(box + 32))
    call_work(work, (job, 0))
    for k in range(workers):
        box = boxes + k * 128
        if compare_exchange(box, POSTED, IDLE) != POSTED:
            spins = 0
            while load_acquire(box) == RUNNING:
                spins += 1
                if spins > 50000:
                    yield_thread()


@lowered
def wait(count, target, board, room, part):
    spins = 0
    while load_acquire(count) < target:
        if board != 0:
            while load_acquire(board) > 0:
                number = fetch_add(board, -1)
                if number > 0:
                    call_work(load_int(board + {done} + 8), (board, number - 1))
                    fetch_add(board + {done}, 1)
                    spins = 0
        if part > 0:
            if load_acquire(room) < part:
                return
        spins += 1
        if spins > 500000:  # about 1 ms; a storm of system calls would slow the one who is waited for
            yield_thread()


write_addresses = addresses(serve, launch, wait)


@cfunc("void(int64)", error_model="numpy")
def functions(to):
    write_addresses(to)
"""


@lru_cache(maxsize=1)
def _native():
    import ctypes

    serve, launch, wait = exported(load_module(_TEXT.replace("{done}", str(DONE))), 3)
    kinds = {"serve": (2, serve), "launch": (4, launch)}
    made = {name: ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * n)(at) for name, (n, at) in kinds.items()}
    return made | {"wait": wait}


def launch_address() -> int:
    """The C function ``launch(boxes, workers, work, job)`` (see `run_team`)."""
    import ctypes

    return ctypes.cast(_native()["launch"], ctypes.c_void_p).value or 0


def wait_address() -> int:
    """The C function ``wait(count, target, board, room, part)``: waits until the int64 at `count` has reached `target`.

    Meanwhile it helps with what is on the board, if that is not 0 (see `rnncore.cpu.board`). With a `part` that is not
    0 it ends as soon as that worker's place is needed (see `room_address`).
    """
    return _native()["wait"]


def room_address() -> int:
    """Where the number of workers stands that may go on, an int64: one whose part is beyond leaves after its task."""
    return address_of(_room)


class _Worker:
    def __init__(self, number: int, box: np.ndarray):
        self.kept_from: tuple[int, frozenset[int]] | None = None
        self.pipe = os.pipe()
        os.set_blocking(self.pipe[1], False)
        box[:] = 0
        box[3:5] = number, self.pipe[1]
        serve = _native()["serve"]
        self.thread = threading.Thread(target=serve, args=(address_of(box), self.pipe[0]), daemon=True, name="rnncore")
        try:
            self.thread.start()
        except RuntimeError:
            self.close()
            raise

    def close(self) -> None:
        for end in self.pipe:
            os.close(end)

    def keep_from(self, caller: int, allowed: frozenset[int]) -> None:
        """Stay off the caller's processor: a scheduler whose processors are all busy leaves both where they wake."""
        if self.kept_from == (caller, allowed):
            return
        self.kept_from = caller, allowed
        try:
            os.sched_setaffinity(self.thread.native_id or 0, allowed - {caller} or allowed)
        except OSError:  # it may run where the system lets it
            pass


class _Pool:
    def __init__(self):
        self.lock = threading.RLock()  # a signal may come while it is held, and its handler make a call
        self.callers = 0
        self.total = 0  # threads that the call which has the workers may use; 0 where none has them
        self.workers: list[_Worker] = []
        self.boxes = np.zeros((max(os.cpu_count() or 1, _WORKERS), _BOX), np.int64)

    def enter(self, threads: int) -> int:
        """Count a call in; returns how many workers it may have."""
        with self.lock:
            self.callers += 1
            wanted = 0
            if threads > 1 and not self.total:
                total = threads_allowed()
                wanted = min(threads - 1, max(total - self.callers, 0))
                self.total = total if wanted else 0
            if self.total:
                self._make_room()
            return wanted

    def leave(self, workers: int) -> None:
        """Count a call out that had so many workers."""
        with self.lock:
            self.callers -= 1
            if self.total:
                self.total = 0 if workers else self.total
                self._make_room()

    def _make_room(self) -> None:
        _room[0] = max(self.total - self.callers, 0)

    def ready(self, n: int) -> int:
        """Have up to `n` workers, off the caller's processor; returns how many there are."""
        n = min(n, len(self.boxes))
        while len(self.workers) < n:
            try:
                self.workers.append(_Worker(len(self.workers) + 1, self.boxes[len(self.workers)]))
            except (RuntimeError, OSError):  # no more threads or pipes to be had, or the interpreter is shutting down
                break
        caller, allowed = processor(), processors_allowed()
        if caller is not None and allowed is not None:
            for worker in self.workers[:n]:
                worker.keep_from(caller, allowed)
        return min(n, len(self.workers))


_pool = _Pool()


def _renew() -> None:
    global _pool
    for worker in _pool.workers:
        worker.close()
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def available_threads() -> int:
    """Threads a call may use."""
    return threads_allowed()


def run_team(work: int, job: int, threads: int) -> None:
    """Call the C function at address `work` as ``work(job, 0)`` here and as ``work(job, k)`` in other threads.

    Each takes tasks until none is left; ``work(job, 0)`` must do all of them if nobody else comes. All who have begun
    have returned when `run_team` does.
    """
    launch = _native()["launch"]
    with_team(threads, lambda boxes, workers: launch(boxes, workers, work, job))


def with_team(threads: int, body: Callable[[int, int], Any]) -> Any:
    """``body(boxes, workers)`` with up to `threads` - 1 workers for `launch`; with none where another call has them."""
    pool = _pool
    workers = pool.enter(threads)
    try:
        return body(address_of(pool.boxes), pool.ready(workers)) if workers else body(0, 0)
    finally:
        pool.leave(workers)
