"""From a function of options to a command."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from .output import say_interrupted

__all__ = ["command_of"]


def command_of(command: Callable[[Any], None]) -> Callable[..., None]:
    """A function for typer: the fields of the dataclass that `command` takes become its options."""
    (parameter,) = inspect.signature(command).parameters.values()
    options = parameter.annotation

    def run(**given: Any) -> None:
        taken = options(**given)
        try:
            taken.load()
            command(taken)
        except KeyboardInterrupt as stop:
            say_interrupted(stop, taken.checkpoints)
            raise

    own = options.__annotations__
    fields = sorted(inspect.signature(options).parameters.values(), key=lambda p: p.name not in own)
    run.__signature__ = inspect.Signature(fields)  # type: ignore[attr-defined]
    run.__annotations__ = get_type_hints(options, include_extras=True)
    run.__name__ = command.__name__
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    run.__doc__ = "\n\n".join(" ".join(p.split()) for p in paragraphs)
    return run
