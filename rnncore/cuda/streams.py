"""Stand-ins for CuPy's streams and events: what is given to a stream runs at once, and a clock says what orders it.

An event carries what its stream knew when it was recorded; whoever waits for it knows that too; the host knows what a
stream did once it has waited for it, and tells every stream. Streams wait for no other unasked: not for the default
one, either.
"""

from __future__ import annotations

import itertools
import threading
from typing import Any
from weakref import WeakValueDictionary

__all__ = ["TIME", "Clock", "Event", "Stream", "get_current_stream", "merge"]

Clock = dict[int, int]  # how much of each stream's work is known to be done
TIME = 40  # bits of a time, below the number of its stream
_local = threading.local()


def merge(into: Clock, other: Clock) -> None:
    """Know all that another does."""
    for stream, time in other.items():
        into[stream] = max(into.get(stream, 0), time)


def _host() -> Clock:
    """What this thread knows is done."""
    if not hasattr(_local, "clock"):
        _local.clock = {}
    return _local.clock


class Event:
    """As ``cupy.cuda.Event``."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False):
        self.clock: Clock = {}

    def record(self, stream: Any = None) -> None:
        stream = get_current_stream() if stream is None else Stream.at(stream.ptr)
        merge(stream.clock, _host())
        self.clock = dict(stream.clock)

    @property
    def done(self) -> bool:
        """Whether this thread knows it: a device may always be late."""
        return all(_host().get(stream, 0) >= time for stream, time in self.clock.items())

    def synchronize(self) -> None:
        merge(_host(), self.clock)


class Stream:
    """As ``cupy.cuda.Stream``."""

    _numbers = itertools.count(1)
    _known: WeakValueDictionary[int, Stream] = WeakValueDictionary()  # by their handles
    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, handle: int | None = None):
        self.number = 0 if null else next(self._numbers)
        self.ptr = handle if handle is not None else 0 if null else 4096 + self.number
        self.device_id = -1 if null or ptds else 0
        self.clock: Clock = {}
        self.blocking, self.capturing = not non_blocking, False
        self._known[self.ptr] = self

    @classmethod
    def at(cls, handle: int) -> Stream:
        """The stream of a handle: 1 is the legacy default stream, 2 the thread's own."""
        return cls._known.get(0 if handle == 1 else handle) or cls(handle=handle)

    def __enter__(self) -> Stream:
        _stack().append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _stack().pop()

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        merge(self.clock, event.clock)

    def synchronize(self) -> None:
        merge(_host(), self.clock)

    def begin_capture(self, mode: int | None = None) -> None:
        if not self.ptr:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.capturing = True

    def end_capture(self) -> None:
        self.capturing = False

    def is_capturing(self) -> bool:
        if not self.ptr and any(other.capturing and other.blocking for other in list(self._known.values())):
            raise RuntimeError("cudaErrorStreamCaptureImplicit: the legacy stream would depend on one that is captured")
        return self.capturing

    def tick(self) -> int:
        """One thing more is given to the stream: what names it, and when."""
        merge(self.clock, _host())
        time = self.clock[self.number] = self.clock.get(self.number, 0) + 1
        return self.number << TIME | time


Stream.null = Stream(null=True)
_per_thread = Stream(ptds=True, handle=2)


def _stack() -> list[Stream]:
    if not hasattr(_local, "streams"):
        _local.streams = [Stream.null]
    return _local.streams


def get_current_stream() -> Stream:
    """What this thread's work is given to."""
    return _stack()[-1]
