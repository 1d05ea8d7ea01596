"""What ``rnncore translate`` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from .fields import Epochs, Out, Quiet, Resume, Seed, Units, argument, defaults_of, files, network, training
from .options import OneRun

__all__ = ["TranslateOptions"]

_default = defaults_of("translation")


@dataclass(kw_only=True)
class TranslateOptions(OneRun):
    """Options of ``rnncore translate``."""

    train: Annotated[
        Path | None,
        argument(metavar="TRAIN", help="What to learn: a source, a tabulator and a target a line. By default dates."),
    ] = None
    test: Annotated[
        Path | None, argument(metavar="TEST", help="What to be tested on. By default dates, or a tenth of TRAIN.")
    ] = None
    pairs: Annotated[
        int, Option(min=100, max=70_000, metavar="N", help="Dates to learn from, where no file is given.")
    ] = 20_000

    cell: Annotated[
        str, network(metavar="NAME", help="A cell, of encoder and decoder. `rnncore plugins cell` lists them.")
    ] = _default("cell")
    scorer: Annotated[
        str, network(metavar="NAME", help="How attention is scored. `rnncore plugins scorer` lists.")
    ] = _default("scorer")
    units: Units = _default("units")

    lr: Annotated[float, training(metavar="X", help="Learning rate at first.")] = _default("lr")
    epochs: Epochs = _default("epochs")
    batch: Annotated[int, training(min=1, metavar="N", help="Pairs of a batch.")] = _default("batch")
    seed: Seed = 0
    beam: Annotated[int, Option(min=1, metavar="N", help="Hypotheses of the beam search.")] = 4
    show: Annotated[
        list[str] | None,
        Option(metavar="TEXT", help="Translate it, too, and draw its attention. May be repeated."),
    ] = None

    model: Annotated[
        Path | None,
        files(
            "--model", "-m", metavar="FILE", show_default=False,
            help="Translate what --show names with this model; nothing is learned.",
        ),
    ] = None  # fmt: skip
    out: Out = Path("rnncore-translation")
    resume: Resume = False
    quiet: Quiet = False
