"""From options to a network and its training: a run on a part, to see how well it does, and one on all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..data import Sequences
from ..errors import InputError
from ..lang.component import Bound
from ..network import Network
from ..params import Params
from ..registry import current
from ..train import LBFGS, Trainer, TrainingResult
from .options import TrainOptions
from .prepared import Preparation

__all__ = ["Recipe"]


@dataclass
class Recipe:
    """What the options say about some training data; a wrong one is an error before anything runs."""

    options: TrainOptions
    data: Sequences

    @cached_property
    def loss(self) -> Bound:
        """The loss, of the kind that the targets need.

        Raises
        ------
        InputError
            If it reads classes and the data has values, or the reverse.
        """
        classes = self.data.classes is not None
        name = self.options.loss or current().defaults("command")["loss" if classes else "values-loss"]
        component = current().get("loss", name)
        if (component.target == "class") != classes:
            kinds = ("classes", "values") if classes else ("values", "classes")
            raise InputError(
                f"--loss {name} is for {kinds[1]}, but the targets of {self.data.source} are {kinds[0]}; "
                "--values or --classes says how targets of a .csv are read"
            )
        return component(**self.options.chosen("loss"))

    @cached_property
    def network(self) -> Network:
        """The network: layers of the cell, each put into the topology, stacked."""
        o, registry = self.options, current()
        layer = registry.get("cell", o.cell)(o.units, **o.chosen("cell"))
        layer = registry.get("topology", o.topology)(layer, **o.chosen("topology"))
        if o.layers > 1:
            stack = registry.get("topology", registry.defaults("command")["stack"])
            layer = stack(*[layer] * o.layers, **o.chosen("stack"))
        elif o.chosen("stack"):
            raise InputError("--option stack... needs --layers 2 or more")
        return Network(
            layer, inputs=len(self.data.features), outputs=self.data.outputs,
            mode="many-to-many" if self.data.per_step else "many-to-one",
            initial_state="learned" if o.learned_state else "zero",
        )  # fmt: skip

    def prepare(self, data: Sequences) -> Preparation:
        """The preparation by `data`, a part of the training data or all of it."""
        o = self.options
        return Preparation.of(data, o.standardize, loss=self.loss.describe(), columns=o.columns)

    def trainer(self, number: int = 0, **changed: Any) -> Trainer:
        """The trainer of one run."""
        o, registry = self.options, current()
        checkpoint = o.checkpoints[number] if o.checkpoints else None
        kind: Any = LBFGS if o.optimizer == "lbfgs" else registry.get("optimizer", o.optimizer)
        try:
            optimizer = kind(**o.chosen("optimizer"))
        except TypeError as error:
            raise InputError(f"--optimizer {o.optimizer} with {o.chosen('optimizer')}: {error}") from error
        settings = {
            "loss": self.loss, "optimizer": optimizer, "learning_rate": o.lr, "epochs": o.epochs,
            "schedule": registry.get("schedule", o.schedule)(**o.chosen("schedule")),
            "batch_size": o.batch, "clip_norm": None if isinstance(optimizer, LBFGS) else o.clip or None,
            "seed": o.seed, "dtype": o.dtype, "checkpoint": checkpoint,
            "checkpoint_epochs": o.checkpoint or 1, "truncate": o.truncate, "progress": not o.quiet,
        }  # fmt: skip
        return Trainer(self.network, **settings | changed)

    def first_run(self) -> tuple[TrainingResult, Preparation, Sequences]:
        """Train on a part, measured on the rest, which is returned too."""
        o = self.options
        part, held = self.data.split(o.validation, o.seed)
        preparation = self.prepare(part)
        keep = "last" if o.refit and not o.patience else "best"
        trainer = self.trainer(0, patience=o.patience, keep=keep)
        data = preparation.dataset(part), preparation.dataset(held)
        return trainer.fit(*data, params=self.start, resume=self._resumed), preparation, held

    def second_run(self, last_epoch: int | None) -> tuple[TrainingResult, Preparation]:
        """Train on all data, to the end or to `last_epoch`; the schedule runs as if to the end."""
        preparation = self.prepare(self.data)
        trainer = self.trainer(1, keep="last", on_epoch=lambda record: record["epoch"] == last_epoch)
        found = trainer.fit(preparation.dataset(self.data), params=self.start, resume=self._resumed)
        return found, preparation

    @cached_property
    def start(self) -> Params:
        """What both runs begin with, on the device that they run on."""
        o = self.options
        return self.network.init(seed=o.seed, dtype=o.dtype, device=o.device)

    @property
    def _resumed(self) -> bool:
        return self.options.resume and bool(self.options.checkpoints)
