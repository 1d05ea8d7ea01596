"""The command ``rnncore``: train, predict, evaluate, translate, generate, explain, plugins, doctor."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and leave the process, as console scripts do.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Raises
    ------
    SystemExit
        0 when all is well; 2 after one clear message on standard error, where an argument or a file
        is wrong; 130 when interrupted.
    """
    from ..errors import RnncoreError

    with warnings.catch_warnings():
        from ..registry import PluginWarning

        warnings.filterwarnings("default", category=PluginWarning)
        warnings.showwarning = _show
        try:
            from .app import UsageError, app

            try:
                sys.exit(app(args=argv, prog_name="rnncore", standalone_mode=False))
            except UsageError as error:
                _leave(f"{error.format_message().rstrip('.')}; see --help")
        except RnncoreError as error:
            _leave(str(error))


def _leave(message: str) -> None:
    print(f"rnncore: error: {message}", file=sys.stderr)
    sys.exit(2)


def _show(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"rnncore: warning: {message}", file=sys.stderr)
