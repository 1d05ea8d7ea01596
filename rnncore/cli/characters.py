"""What ``rnncore generate`` takes."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from ..registry import current
from .options import Components

__all__ = ["GenerateOptions"]

_network = partial(Option, rich_help_panel="Network")
_training = partial(Option, rich_help_panel="Training")
_sample = partial(Option, rich_help_panel="Sample", show_default=False)
_files = partial(Option, rich_help_panel="Files")


def _default(key: str) -> Any:
    return current().defaults("generation").get(key)


@dataclass(kw_only=True)
class GenerateOptions(Components):
    """Options of ``rnncore generate``."""

    text: Annotated[
        Path | None,
        Argument(metavar="TEXT", show_default=False, help="A text to learn, UTF-8. By default Shakespeare's sonnets."),
    ] = None

    cell: Annotated[
        str, _network(metavar="NAME", help="A cell. `rnncore plugins cell` lists them.")
    ] = _default("cell")  # fmt: skip
    units: Annotated[int, _network(min=1, metavar="N", help="Units of each layer.")] = _default("units")
    layers: Annotated[int, _network(min=1, metavar="N", help="Stacked layers.")] = _default("layers")

    lr: Annotated[float, _training(metavar="X", help="Learning rate at first.")] = _default("lr")
    epochs: Annotated[int, _training(min=1, metavar="N", help="Passes over the text.")] = _default("epochs")
    batch: Annotated[int, _training(min=1, metavar="N", help="Pieces that are read side by side.")] = _default("batch")
    truncate: Annotated[
        int, _training(min=1, metavar="N", help="Characters of a chunk: the state goes on, the gradient does not.")
    ] = _default("truncate")
    seed: Annotated[int, _training(min=0, metavar="N", help="The same seed, the same numbers.")] = 0

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
        _files("--model", "-m", metavar="FILE", show_default=False, help="Write with this model; nothing is learned."),
    ] = None
    out: Annotated[Path, _files("--out", "-o", metavar="DIR", help="Folder of the results.")] = Path("rnncore-text")
    quiet: Annotated[bool, _files("--quiet", "-q", help="No progress bar.")] = False
