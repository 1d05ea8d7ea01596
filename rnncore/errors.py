"""The exceptions of rnncore: each text says what was got, what was expected, and where."""

from __future__ import annotations

__all__ = ["RnncoreError", "InputError", "LanguageError", "PluginError", "FileError"]


class RnncoreError(Exception):
    """Base class of every error that rnncore raises on purpose."""


class InputError(RnncoreError, ValueError):
    """An argument has a wrong shape, type, length, name or value."""


class LanguageError(RnncoreError):
    """The equations of a component are wrong; ``filename`` and ``lineno`` are the author's own.

    Parameters
    ----------
    message : str
        What is wrong and what was expected, in plain words.
    filename, lineno : str and int, optional
        The author's line.
    """

    def __init__(self, message: str, filename: str | None = None, lineno: int | None = None):
        self.message, self.filename, self.lineno = message, filename, lineno
        super().__init__(self._text())

    def _text(self) -> str:
        if self.filename is None:
            return self.message
        import linecache

        source = linecache.getline(self.filename, self.lineno or 0).strip()
        shown = f"\n    {source}" if source else ""
        return f"{self.filename}:{self.lineno}: {self.message}{shown}"

    def __reduce__(self):
        return type(self), (self.message, self.filename, self.lineno)


class PluginError(RnncoreError):
    """A plugin cannot be loaded or clashes with another one."""


class FileError(RnncoreError):
    """A file cannot be read as what it is said to be."""
