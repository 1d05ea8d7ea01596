"""The commands under one name."""

from importlib.metadata import version
from typing import Annotated, Any

import typer

from .command import command_of
from .doctor import doctor
from .evaluate import evaluate
from .explain import explain
from .generate import generate
from .plugins import plugins
from .predict import predict
from .train import train
from .translate import translate

__all__ = ["UsageError", "app"]

#: What typer raises for a wrong argument; from version to version it is of another package.
UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, invoke_without_command=True)


@app.callback()
def _rnncore(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Recurrent networks from equations: train them, use them, look into them.

    With no files, `rnncore train` learns the embedded Japanese Vowels.
    """
    if show_version:
        print(version("rnncore"))
    elif context.invoked_subcommand is None:
        print(context.get_help())


for _command in (train, predict, evaluate, translate, generate, explain, plugins, doctor):
    app.command()(command_of(_command))
