"""Arguments and options that several commands share, and the panels of the help in which they stand."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from ..registry import current

__all__ = [
    "Cell", "Epochs", "Layers", "Out", "Quiet", "Resume", "Seed", "Units", "argument", "defaults_of", "files",
    "network", "training",
]  # fmt: skip

network = partial(Option, rich_help_panel="Network")
training = partial(Option, rich_help_panel="Training")
files = partial(Option, rich_help_panel="Files")
argument = partial(Argument, show_default=False)

Cell = Annotated[str, network(metavar="NAME", help="A cell. `rnncore plugins cell` lists them.")]
Units = Annotated[int, network(min=1, metavar="N", help="Units of each layer.")]
Layers = Annotated[int, network(min=1, metavar="N", help="Stacked layers.")]

Epochs = Annotated[int, training(min=1, metavar="N", help="Passes over the data.")]
Seed = Annotated[int, training(min=0, metavar="N", help="The same seed, the same numbers.")]

Out = Annotated[Path, files("--out", "-o", metavar="DIR", help="Folder of the results.")]
Resume = Annotated[bool, files("--resume", help="Go on from the checkpoint of a run that was interrupted or killed.")]
Quiet = Annotated[bool, files("--quiet", "-q", help="No progress bar.")]


def defaults_of(recipe: str) -> Callable[[str], Any]:
    """What a user who says nothing gets, by the key of the plugins' recipe of that name."""
    return lambda key: current().defaults(recipe).get(key)
