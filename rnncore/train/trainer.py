"""The trainer: its settings, checked before anything runs, and what a run gives back."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any

from ..arguments import whole
from ..errors import InputError
from ..inputs import as_checkpoint
from ..lang.component import Bound, Component, schedule
from ..network import Network
from ..objective import check_outputs
from ..params import Params
from ..teaching import fed_back, ratio_of
from .chunks import check_carries
from .components import resolve
from .fits import as_dataset
from .history import History
from .lbfgs import LBFGS
from .run import Run

__all__ = ["Trainer", "TrainingResult"]

OPTIONAL = ("patience", "checkpoint_updates", "truncate")
MONITORS = ("loss", "val_loss", "val_accuracy", "val_exact_match")


@schedule
def _unchanged(t, total):
    """The learning rate stays as it is."""
    return 1.0


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Parameters
    ----------
    params : Params
        Those of the best epoch, or the last, as the trainer's `keep` says.
    history : History
        A record for every epoch.
    best_epoch : int or None
        Counted from 1; None where nothing was better than nothing.
    stopped : {"epochs", "patience", "callback", "converged", "diverged"}
        Why the run is over.
    updates : int
        Of the parameters.
    seconds : float
        Of training and validation, over all parts of a resumed run.
    """

    params: Params
    history: History
    best_epoch: int | None
    stopped: str
    updates: int
    seconds: float


@dataclass(frozen=True)
class Trainer:
    """Trains a network on sequences of different lengths.

    The same seed, data and settings give the same numbers, run after run; so does a run that
    was killed and resumed from its checkpoint.

    Parameters
    ----------
    network : Network
    loss : str, Loss or a loss with options
    optimizer : str, Optimizer, an optimizer with options, or LBFGS
        ``"lbfgs"`` stands for ``LBFGS()``.
    learning_rate : float
        Not used by L-BFGS.
    schedule : str, Schedule or a schedule with options, optional
        Factor of the learning rate over the run; None leaves it as it is.
    epochs : int
        Passes over the training data; with L-BFGS rounds of iterations.
    batch_size : int
        Sequences of a batch.
    clip_norm, clip_value : float, optional
        Bound of the length, and of each element, of the gradient.
    patience : int, optional
        Stop after so many epochs without a better monitored value.
    monitor : {"loss", "val_loss", "val_accuracy", "val_exact_match"}, optional
        What is better; ``"val_loss"`` where there is validation data, else ``"loss"``. Equal
        accuracies and exact matches are told apart by the loss.
    keep : {"best", "last"}, optional
        Which parameters the run gives back; ``"best"`` where there is validation data, or patience.
    teacher_forcing : {"never", "always"}, float in [0, 1], or a schedule, optional
        How often a network that feeds its output back is handed the true one. A schedule, such as
        ``"inverse_sigmoid"``, gives the ratio of each update (scheduled sampling, Bengio et al. 2015).
        By default always for a decoder, else never. Validation runs on the network's own outputs, but for the
        loss of a decoder.
    truncate : int, optional
        Truncated BPTT: sequences are cut into chunks of so many steps, each chunk an update; the state is carried from
        one to the next of the same sequences, the gradient is not. None: whole sequences.
    stateful : bool
        Streams: row j of each batch continues row j of the batch before, with its state; the data is not shuffled.
        Sequences lie batch by batch: of (streams, time, features) the first `steps` of every stream, then the next.
    gradient_checkpoint : int or "sqrt", optional
        Keep the states of every so many steps alone for the way back (see ``Network.forward``): less memory.
    bucket : int
        Batches that are sorted by length together; 1 shuffles without regard to length.
    seed : int
        Of initial parameters, batches, dropout and the coins of teacher forcing.
    dtype : {"float32", "float64"}
    checkpoint : path-like, optional
        File from which a killed run can be resumed.
    checkpoint_epochs, checkpoint_updates : int
        Write it after every so many epochs, and updates. The last epoch is always written.
    progress : bool
        Show a bar with loss and sequences per second on standard error.
    on_epoch : callable, optional
        Given each epoch's record, a dict of numbers; something true stops the run.

    Raises
    ------
    InputError
        If a setting is impossible.

    Examples
    --------
    >>> import numpy as np, rnncore as rn
    >>> from rnncore.train import Dataset, Trainer
    >>> rng = np.random.default_rng(0)
    >>> x = [rng.standard_normal((n, 2)) + 2 * (n % 2) for n in range(3, 40)]
    >>> data = Dataset(x, [len(s) % 2 for s in x])
    >>> net = rn.Network(rn.cells.gru(8), inputs=2, outputs=2, mode="many-to-one")
    >>> trainer = Trainer(net, loss="cross_entropy", optimizer="adam", learning_rate=0.03, progress=False)
    >>> result = trainer.fit(data)
    >>> bool(result.history[-1]["loss"] < 0.2)
    True
    """

    network: Network
    _: KW_ONLY
    loss: Any
    optimizer: Any
    learning_rate: float = 1e-3
    schedule: Any = None
    epochs: int = 60
    batch_size: int = 32
    clip_norm: float | None = None
    clip_value: float | None = None
    patience: int | None = None
    monitor: str | None = None
    keep: str | None = None
    teacher_forcing: Any = None
    truncate: int | None = None
    stateful: bool = False
    gradient_checkpoint: int | str | None = None
    bucket: int = 8
    seed: int = 0
    dtype: str = "float32"
    checkpoint: str | os.PathLike | None = None
    checkpoint_epochs: int = 1
    checkpoint_updates: int | None = None
    progress: bool = True
    on_epoch: Callable[[dict], Any] | None = None

    def __post_init__(self):
        set_ = object.__setattr__
        for name in ("epochs", "batch_size", "bucket", "checkpoint_epochs", *OPTIONAL):
            if getattr(self, name) is not None or name not in OPTIONAL:
                set_(self, name, _whole(name, getattr(self, name), 1))
        set_(self, "seed", _whole("seed", self.seed, 0))
        for name in ("learning_rate", "clip_norm", "clip_value"):
            if getattr(self, name) is not None or name == "learning_rate":
                set_(self, name, _positive(name, getattr(self, name)))
        if self.monitor not in (None, *MONITORS):
            raise InputError(f"monitor: expected one of {', '.join(MONITORS)}, got {self.monitor!r}")
        if not isinstance(self.stateful, bool):
            raise InputError(f"stateful: expected True or False, got {self.stateful!r}")
        if self.keep not in (None, "best", "last"):
            raise InputError(f"keep: expected 'best' or 'last', got {self.keep!r}")
        if self.dtype not in ("float32", "float64"):
            raise InputError(f"dtype: expected 'float32' or 'float64', got {self.dtype!r}")
        set_(self, "loss", resolve("loss", self.loss))
        check_outputs(self.loss, self.network.outputs or self.network.features)
        set_(self, "schedule", resolve("schedule", _unchanged if self.schedule is None else self.schedule))
        set_(self, "optimizer", _optimizer(self))
        set_(self, "teacher_forcing", _forcing(self))
        set_(self, "gradient_checkpoint", as_checkpoint(self.gradient_checkpoint))
        for option in ("truncate", "stateful"):
            if getattr(self, option):
                check_carries(self.network, f"{option}={getattr(self, option)}")

    def fit(
        self, train: Any, valid: Any = None, *, params: Params | None = None, resume: bool = False
    ) -> TrainingResult:
        """Train.

        Parameters
        ----------
        train : Dataset or (x, target)
        valid : Dataset or (x, target), optional
            Evaluated after each epoch.
        params : Params, optional
            To start from; they are copied. By default ``network.init(seed, dtype)``. Losses and gradients are
            computed on their device, and the result is there; the optimizer works on the CPU.
        resume : bool
            Go on from `checkpoint` if that file is there, else start anew. Settings and data must be those
            of before; only `epochs` and `patience` may be others (a schedule then follows the new total).

        Returns
        -------
        TrainingResult

        Raises
        ------
        InputError
            If data or parameters do not fit the network.
        FileError
            If the checkpoint is damaged, belongs to a run of other settings or data, or cannot be written.
        KeyboardInterrupt
            Ctrl-C; its text says what the checkpoint holds.
        """
        if resume and self.checkpoint is None:
            raise InputError("resume needs the file to resume from: Trainer(..., checkpoint=path)")
        train = as_dataset(train, self.network)
        valid = None if valid is None else as_dataset(valid, self.network)
        if self.monitor in MONITORS[1:] and valid is None:
            raise InputError(f"monitor {self.monitor!r} needs validation data")
        run = Run(self, train, valid, params)
        if resume and os.path.exists(self.checkpoint):  # type: ignore[arg-type]
            run.resume()
        try:
            state = run.to_the_end()
        except KeyboardInterrupt as stop:
            raise run.state.interrupted(self.epochs).with_traceback(stop.__traceback__) from None
        keep = self.keep or ("best" if valid is not None or self.patience else "last")
        flat = state.best if keep == "best" and state.best is not None else state.flat
        return TrainingResult(
            params=run.placed(run.params.with_flat(flat.copy())),
            history=state.history,
            best_epoch=state.best_epoch,
            stopped=str(state.stopped),
            updates=state.updates,
            seconds=state.seconds,
        )


def _optimizer(trainer: Trainer) -> Bound | LBFGS:
    spec = LBFGS() if trainer.optimizer == "lbfgs" else trainer.optimizer
    if not isinstance(spec, LBFGS):
        return resolve("optimizer", spec)
    for name in ("clip_norm", "clip_value", "checkpoint_updates", "truncate", "stateful"):
        if getattr(trainer, name) not in (None, False):
            raise InputError(f"{name} has no meaning with L-BFGS, which works on the whole training set")
    return spec


def _forcing(trainer: Trainer) -> float | Bound | None:
    """A ratio, or a schedule of it; None for what is usual with the network."""
    spec = trainer.teacher_forcing
    named = isinstance(spec, str) and spec not in ("always", "never")
    if not named and not isinstance(spec, (Component, Bound)):
        ratio = ratio_of(spec)
        if ratio:
            fed_back(trainer.network)
        return None if spec is None else ratio
    fed_back(trainer.network)
    if isinstance(trainer.optimizer, LBFGS):
        raise InputError("a schedule of teacher_forcing has no meaning with L-BFGS: give a ratio")
    return resolve("schedule", spec)


def _whole(name: str, value: Any, least: int) -> int:
    number = whole(value, least)
    if number is None:
        raise InputError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return number


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise InputError(f"{name}: expected a number above 0, got {value!r}")
    return float(value)
