"""What the commands take: one dataclass a command, whose fields are its arguments and options."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from ..errors import InputError
from ..registry import load_file
from .fields import (
    Cell,
    Epochs,
    Layers,
    Out,
    Quiet,
    Resume,
    Seed,
    Units,
    argument,
    defaults_of,
    files,
    network,
    training,
)

__all__ = [
    "Components", "DoctorOptions", "EvaluateOptions", "ExplainOptions", "OneRun", "PluginsOptions",
    "PredictOptions", "TrainOptions",
]  # fmt: skip

_KINDS = ("cell", "topology", "stack", "loss", "optimizer", "schedule")
MODEL = Path("rnncore-run/model.safetensors")

_column = partial(Option, rich_help_panel="Columns of a .csv file")
_default = defaults_of("command")


@dataclass(kw_only=True)
class Components:
    """Options of every command that may need components of the user's own."""

    plugin: Annotated[
        list[Path] | None,
        files(metavar="FILE", help="A Python file with components of your own. May be repeated."),
    ] = None

    @property
    def checkpoints(self) -> list[Path] | None:
        """Files from which ``--resume`` goes on; None where there is nothing to go on with."""
        return None

    def load(self) -> None:
        """Register what the files of ``--plugin`` define."""
        for path in self.plugin or ():
            load_file(path)


class OneRun(Components):
    """Options of a command that learns in one run, or uses the --model that it is given."""

    if TYPE_CHECKING:
        model: Path | None
        out: Path

    @property
    def checkpoint(self) -> Path:
        """The file from which ``--resume`` goes on."""
        return self.out / "run.checkpoint"

    @property
    def checkpoints(self) -> list[Path] | None:
        return [self.checkpoint] if self.model is None else None


@dataclass(kw_only=True)
class Steps(Components):
    """How the steps of a long table are read."""

    id: Annotated[
        str | None, _column(metavar="COLUMN", help="Names the sequence of a row. By default id, series or the like.")
    ] = None
    time: Annotated[
        str | None, _column(metavar="COLUMN", help="Orders the steps of a sequence. By default time, t or step.")
    ] = None

    @property
    def columns(self) -> dict[str, Any]:
        """The columns, by the names that the reader of long tables gives them."""
        return {"id": self.id, "time": self.time}


@dataclass(kw_only=True)
class Targets(Steps):
    """How the targets of a long table are read."""

    target: Annotated[
        list[str] | None,
        _column(metavar="COLUMN", help="What to predict; repeated, for several values. By default label or the like."),
    ] = None
    values: Annotated[
        bool | None,
        _column(
            "--values/--classes", show_default=False,
            help="Targets are numbers, or names of classes. By default numbers if one is fractional.",
        ),
    ] = None  # fmt: skip

    @property
    def columns(self) -> dict[str, Any]:
        return super().columns | {"target": self.target, "values": self.values}


@dataclass(kw_only=True)
class TrainOptions(Targets):
    """Options of ``rnncore train``."""

    train: Annotated[
        Path | None,
        argument(metavar="TRAIN", help="What to learn: .ts, .npz or long .csv. By default Japanese Vowels."),
    ] = None
    test: Annotated[
        Path | None, argument(metavar="TEST", help="What to be tested on. It is read once, at the end.")
    ] = None

    cell: Cell = _default("cell")
    units: Units = _default("units")
    layers: Layers = _default("layers")
    topology: Annotated[
        str, network(metavar="NAME", help="Each layer is put into it. `rnncore plugins topology` lists.")
    ] = _default("topology")
    option: Annotated[
        list[str] | None,
        network(
            metavar="NAME=VALUE",
            help="An option of the cell; or topology.NAME=VALUE, and so for stack, loss, optimizer, "
            "schedule. May be repeated.",
        ),
    ] = None
    learned_state: Annotated[
        bool, network("--learned-state", help="Learn the state that sequences start from.")
    ] = False

    loss: Annotated[
        str | None,
        training(
            metavar="NAME", help="What is made small. `rnncore plugins loss` lists.",
            show_default=f"{_default('loss')}; for values {_default('values-loss')}",
        ),
    ] = None  # fmt: skip
    optimizer: Annotated[
        str,
        training(metavar="NAME", help="By what; `rnncore plugins optimizer` lists. lbfgs is SciPy's, on all the data."),
    ] = _default("optimizer")
    lr: Annotated[float, training(metavar="X", help="Learning rate at first; lbfgs has none.")] = _default("lr")
    schedule: Annotated[
        str, training(metavar="NAME", help="The learning rate over the run. `rnncore plugins schedule` lists.")
    ] = _default("schedule")  # fmt: skip
    epochs: Epochs = _default("epochs")
    batch: Annotated[int, training(min=1, metavar="N", help="Sequences of a batch.")] = _default("batch")
    clip: Annotated[
        float, training(min=0, metavar="X", help="Largest norm of a gradient; 0: any.")
    ] = _default("clip")  # fmt: skip
    truncate: Annotated[
        int | None,
        training(
            min=1, metavar="N", show_default=False,
            help="Cut long sequences into chunks of so many steps: the state goes on, the gradient does not. For "
            "targets one a step, and layers that read forward in time.",
        ),
    ] = None  # fmt: skip
    validation: Annotated[
        float,
        training(
            min=0, max=0.9, metavar="X",
            help="Part of the training data that a first run holds out, to be measured on. 0: no first run.",
        ),
    ] = _default("validation")  # fmt: skip
    patience: Annotated[
        int | None,
        training(
            min=1, metavar="N", show_default=False,
            help="End the first run after so many epochs without a better validation loss, and the second at "
            "the first's best epoch.",
        ),
    ] = None  # fmt: skip
    refit: Annotated[
        bool,
        training("--refit/--no-refit", help="Learn all data in a second run, or keep the first's best."),
    ] = True
    seed: Seed = 0
    dtype: Annotated[str, training(metavar="NAME", help="Of all numbers: float32 or float64.")] = "float32"
    device: Annotated[Literal["cpu", "cuda"], training(metavar="DEVICE", help="Where to train: cpu or cuda.")] = "cpu"
    standardize: Annotated[
        bool,
        training(
            "--standardize/--no-standardize",
            help="Bring features, and targets that are values, to mean 0 and deviation 1.",
        ),
    ] = True

    out: Out = MODEL.parent
    checkpoint: Annotated[int, files(min=0, metavar="N", help="Epochs between checkpoints; 0: none.")] = 10
    resume: Resume = False
    quiet: Quiet = False

    @property
    def checkpoints(self) -> list[Path]:
        return [self.out / f"run{k}.checkpoint" for k in (1, 2)] if self.checkpoint else []

    def chosen(self, kind: str) -> dict[str, Any]:
        """The options that ``--option`` gives to one kind of component."""
        return {name: value for k, name, value in map(_parsed, self.option or ()) if k == kind}


_Model = Annotated[Path, files("--model", "-m", metavar="FILE", help="What `rnncore train` wrote.")]


@dataclass(kw_only=True)
class EvaluateOptions(Targets):
    """Options of ``rnncore evaluate``."""

    data: Annotated[
        Path | None, argument(metavar="DATA", help="Sequences with targets. By default Japanese Vowels' test.")
    ] = None
    model: _Model = MODEL
    as_json: Annotated[bool, files("--json", help="Print JSON.")] = False


@dataclass(kw_only=True)
class PredictOptions(Steps):
    """Options of ``rnncore predict``."""

    data: Annotated[
        Path | None, argument(metavar="DATA", help="Sequences. By default Japanese Vowels' test part.")
    ] = None
    model: _Model = MODEL
    output: Annotated[
        Path, files("--output", "-o", metavar="FILE", help="A .csv file to write; -: print it.")
    ] = Path("predictions.csv")


@dataclass(kw_only=True)
class ExplainOptions(Components):
    """Options of ``rnncore explain``."""

    cell: Annotated[
        str, Argument(metavar="CELL", help="A cell. `rnncore plugins cell` lists them.")
    ] = _default("cell")  # fmt: skip
    units: Annotated[int, network(min=1, metavar="N", help="Units of the layer.")] = _default("units")
    option: Annotated[
        list[str] | None, network(metavar="NAME=VALUE", help="An option of the cell. May be repeated.")
    ] = None

    @property
    def chosen(self) -> dict[str, Any]:
        """The options of the cell."""
        return {name: value for _, name, value in map(_parsed, self.option or ())}


@dataclass(kw_only=True)
class PluginsOptions(Components):
    """Options of ``rnncore plugins``."""

    names: Annotated[
        list[str] | None,
        argument(metavar="NAME", help="Kinds (cell, loss, ...) or components. By default all."),
    ] = None
    equations: Annotated[bool, Option("--equations", "-e", help="Show the author's text of each.")] = False


@dataclass(kw_only=True)
class DoctorOptions(Components):
    """Options of ``rnncore doctor``."""

    device: Annotated[
        Literal["cpu", "cuda"] | None, Option(metavar="DEVICE", help="What must be usable: cpu, the default, or cuda.")
    ] = None


def _parsed(text: str) -> tuple[str, str, Any]:
    """``topology.merge=sum`` as ("topology", "merge", "sum"); the cell's where no kind is named."""
    name, sign, value = text.partition("=")
    kind, dot, rest = name.partition(".")
    if not dot:
        kind, rest = "cell", name
    if not sign or not rest.isidentifier() or kind not in _KINDS:
        kinds = ", ".join(_KINDS)
        raise InputError(f"--option {text}: expected NAME=VALUE or KIND.NAME=VALUE, KIND one of {kinds}")
    spelled = {"True": "true", "False": "false", "None": "null"}
    try:
        return kind, rest, json.loads(spelled.get(value, value))
    except ValueError:
        return kind, rest, value
