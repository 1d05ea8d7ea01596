"""What ``rnncore generate`` takes."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from .fields import Cell, Layers, Out, Quiet, Resume, Seed, Units, argument, defaults_of, files, training
from .options import OneRun

__all__ = ["GenerateOptions"]

_sample = partial(Option, rich_help_panel="Sample", show_default=False)
_default = defaults_of("generation")


@dataclass(kw_only=True)
class GenerateOptions(OneRun):
    """Options of ``rnncore generate``."""

    text: Annotated[
        Path | None,
        argument(metavar="TEXT", help="A text to learn, UTF-8. By default Shakespeare's sonnets."),
    ] = None

    cell: Cell = _default("cell")
    units: Units = _default("units")
    layers: Layers = _default("layers")

    lr: Annotated[float, training(metavar="X", help="Learning rate at first.")] = _default("lr")
    epochs: Annotated[int, training(min=1, metavar="N", help="Passes over the text.")] = _default("epochs")
    batch: Annotated[int, training(min=1, metavar="N", help="Pieces that are read side by side.")] = _default("batch")
    truncate: Annotated[
        int, training(min=1, metavar="N", help="Characters of a chunk: the state goes on, the gradient does not.")
    ] = _default("truncate")
    seed: Seed = 0

    prompt: Annotated[str | None, _sample(metavar="TEXT", help="How it begins. By default with a new line.")] = None
    characters: Annotated[
        int, _sample(min=1, metavar="N", show_default=True, help="How many are written.")
    ] = 400  # fmt: skip
    temperature: Annotated[
        float, _sample(min=0, metavar="X", show_default=True, help="Of the draw; 0: the likeliest character.")
    ] = 0.7
    top_k: Annotated[int | None, _sample(min=1, metavar="N", help="Draw from so many of the likeliest.")] = None
    top_p: Annotated[
        float | None, _sample(metavar="X", help="Draw from the likeliest that have this probability together.")
    ] = None
    beam: Annotated[int | None, _sample(min=1, metavar="N", help="Search with so many hypotheses; no draw.")] = None

    model: Annotated[
        Path | None,
        files("--model", "-m", metavar="FILE", show_default=False, help="Write with this model; nothing is learned."),
    ] = None
    out: Out = Path("rnncore-text")
    resume: Resume = False
    quiet: Quiet = False
