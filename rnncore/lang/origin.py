"""Where a value of a step is from: the author's own line, at which a mistake is told."""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Callable

from ..errors import LanguageError
from .dims import Origin

__all__ = ["author_line", "fail", "pinned_origin", "source_of"]

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.dirname(_HERE)
_pinned = threading.local()


def author_line() -> Origin | None:
    """File and line of the innermost frame outside the engine: the author's own line."""
    pinned = getattr(_pinned, "origin", None)
    if pinned is not None:
        return pinned or None
    frame = sys._getframe(1)
    while frame is not None:
        if not os.path.abspath(frame.f_code.co_filename).startswith(_PACKAGE + os.sep):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None


class pinned_origin:
    """Within this context new nodes belong to the given author's line, None for no line (derivatives, rewrites)."""

    def __init__(self, origin: Origin | None):
        self.origin = origin

    def __enter__(self):
        self.before = getattr(_pinned, "origin", None)
        _pinned.origin = self.origin if self.origin is not None else ()

    def __exit__(self, *exc):
        _pinned.origin = self.before


def fail(message: str, origin: Origin | None = None) -> LanguageError:
    """A `LanguageError` at the author's line (to be raised by the caller)."""
    origin = origin or author_line()
    return LanguageError(message, *(origin or (None, None)))


def source_of(fn: Callable) -> str:
    """The author's text; of what was typed at a prompt, where it was."""
    try:
        return inspect.getsource(fn)
    except OSError:
        code = fn.__code__
        return f"# the text of {fn.__name__} ({code.co_filename}:{code.co_firstlineno}) is not at hand\n"
