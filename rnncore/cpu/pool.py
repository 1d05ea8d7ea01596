"""Threads for the parts of one call. One call at a time has them; another one runs alone in its own thread.

So every part of a call really runs at once, which the barrier inside a kernel needs, and many
callers never start more threads than there are processors. After a fork the child starts its own.
"""

from __future__ import annotations

import os
import threading
from _queue import SimpleQueue
from collections.abc import Callable

from .machine import threads_allowed

__all__ = ["run_parts", "available_parts"]


class _Pool:
    def __init__(self):
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.workers: list[SimpleQueue] = []
        self.done: SimpleQueue = SimpleQueue()

    def grow(self, n: int) -> None:
        while len(self.workers) < n:
            queue: SimpleQueue = SimpleQueue()
            thread = threading.Thread(target=self._serve, args=(queue,), daemon=True, name="rnncore")
            try:
                thread.start()
            except RuntimeError:  # no more threads to be had, or the interpreter is shutting down
                return
            self.workers.append(queue)

    def _serve(self, queue: SimpleQueue) -> None:
        while True:
            work, part, parts = queue.get()
            try:
                work(part, parts)
                self.done.put(None)
            except BaseException as error:
                self.done.put(error)


_pool = _Pool()


def available_parts() -> int:
    """Parts a call may be split into."""
    return threads_allowed()


def run_parts(work: Callable[[int, int], None], parts: int) -> None:
    """Run ``work(part, parts)`` for every part at the same time; alone if the threads are taken.

    `work` must give the same result however many parts there are.
    """
    global _pool
    if _pool.pid != os.getpid():
        _pool = _Pool()
    pool = _pool
    if parts <= 1 or not pool.lock.acquire(blocking=False):
        work(0, 1)
        return
    try:
        pool.grow(parts - 1)
        parts = min(parts, len(pool.workers) + 1)
        for k in range(1, parts):
            pool.workers[k - 1].put((work, k, parts))
        try:
            work(0, parts)
        finally:
            errors = [_patient_get(pool.done) for _ in range(1, parts)]
        for error in errors:
            if error is not None:
                raise error
    finally:
        pool.lock.release()


def _patient_get(queue: SimpleQueue):
    """Wait for a part to end, through an interrupt: its memory is in use until then."""
    interrupted = None
    while True:
        try:
            result = queue.get()
            break
        except KeyboardInterrupt as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted
    return result
