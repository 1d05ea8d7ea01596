"""What ``rnncore translate`` takes."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from ..registry import current
from .options import Components

__all__ = ["TranslateOptions"]

_network = partial(Option, rich_help_panel="Network")
_training = partial(Option, rich_help_panel="Training")
_files = partial(Option, rich_help_panel="Files")
_data = partial(Argument, show_default=False)


def _default(key: str) -> Any:
    return current().defaults("translation").get(key)


@dataclass(kw_only=True)
class TranslateOptions(Components):
    """Options of ``rnncore translate``."""

    train: Annotated[
        Path | None,
        _data(metavar="TRAIN", help="What to learn: a source, a tabulator and a target a line. By default dates."),
    ] = None
    test: Annotated[
        Path | None, _data(metavar="TEST", help="What to be tested on. By default dates, or a tenth of TRAIN.")
    ] = None
    pairs: Annotated[
        int, Option(min=100, max=70_000, metavar="N", help="Dates to learn from, where no file is given.")
    ] = 20_000

    cell: Annotated[
        str, _network(metavar="NAME", help="A cell, of encoder and decoder. `rnncore plugins cell` lists them.")
    ] = _default("cell")
    scorer: Annotated[
        str, _network(metavar="NAME", help="How attention is scored. `rnncore plugins scorer` lists.")
    ] = _default("scorer")
    units: Annotated[int, _network(min=1, metavar="N", help="Units of each layer.")] = _default("units")

    lr: Annotated[float, _training(metavar="X", help="Learning rate at first.")] = _default("lr")
    epochs: Annotated[int, _training(min=1, metavar="N", help="Passes over the data.")] = _default("epochs")
    batch: Annotated[int, _training(min=1, metavar="N", help="Pairs of a batch.")] = _default("batch")
    seed: Annotated[int, _training(min=0, metavar="N", help="The same seed, the same numbers.")] = 0
    beam: Annotated[int, Option(min=1, metavar="N", help="Hypotheses of the beam search.")] = 4
    show: Annotated[
        list[str] | None,
        Option(metavar="TEXT", help="Translate it, too, and draw its attention. May be repeated."),
    ] = None

    model: Annotated[
        Path | None,
        _files(
            "--model", "-m", metavar="FILE", show_default=False,
            help="Translate what --show names with this model; nothing is learned.",
        ),
    ] = None  # fmt: skip
    out: Annotated[
        Path, _files("--out", "-o", metavar="DIR", help="Folder of the results.")
    ] = Path("rnncore-translation")  # fmt: skip
    resume: Annotated[bool, _files("--resume", help="Go on from the checkpoint of an ended run.")] = False
    quiet: Annotated[bool, _files("--quiet", "-q", help="No progress bar.")] = False
