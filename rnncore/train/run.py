"""One run of a trainer: epochs, validation, checkpoints, and when to stop."""

from __future__ import annotations

import math
import time
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..lang.component import Bound
from ..objective import loss_grads_and_state
from ..params import Params
from .buckets import batches_by_length, bucketed_batches
from .chunks import Chunk, chunks_of, stream_batches
from .data import Dataset
from .evaluate import evaluate, weight_of
from .files import discard_leftovers
from .fits import check_fits
from .lbfgs import LBFGS, minimize_round
from .optimize import Optimization
from .progress import Progress
from .state import RunState, Tally, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Run"]


class Run:
    """A trainer at work on data.

    Parameters
    ----------
    trainer : Trainer
    train : Dataset
    valid : Dataset, optional
    params : Params, optional
        To start from.

    Raises
    ------
    InputError
        If data or parameters do not fit the network.
    """

    def __init__(self, trainer: Trainer, train: Dataset, valid: Dataset | None, params: Params | None):
        self.trainer, self.network = trainer, trainer.network
        if params is None:
            params = self.network.init(seed=trainer.seed, dtype=trainer.dtype)
        self.network.check_params(params)
        where, products, functions = params.device, params.products or None, params.functions or None
        self.params = params.to("cpu").copy()
        self.placed = lambda host: host.to(where, products=products, functions=functions)
        self.classes = trainer.loss.component.target == "class"
        self.train = train.cast(params.dtype, values=not self.classes)
        self.valid = valid and valid.cast(params.dtype, values=not self.classes)
        self.settings = self._settings()
        for name, data in (("training", self.train), ("validation", self.valid)):
            if data is not None:
                check_fits(self.network, data, trainer.loss, name)
            if data is not None and trainer.stateful:
                stream_batches(len(data), trainer.batch_size)
        rng = np.random.default_rng([trainer.seed, 1])
        self.state = RunState(self.params.flat, dict(rng.bit_generator.state))
        self.optimization: Optimization | None = None
        if not isinstance(trainer.optimizer, LBFGS):
            self.optimization = Optimization(
                trainer.optimizer, trainer.schedule, trainer.learning_rate,
                total=trainer.epochs * math.ceil(len(train) / trainer.batch_size), size=params.flat.size,
                dtype=params.dtype, clip_norm=trainer.clip_norm, clip_value=trainer.clip_value,
            )  # fmt: skip
            self.state.slots = self.optimization.slots
        self.bar = Progress(False, None)

    def _settings(self) -> dict[str, Any]:
        """Everything that the numbers of a run depend on but its length."""
        t, forcing = self.trainer, self.trainer.teacher_forcing
        named = ("learning_rate", "batch_size", "clip_norm", "clip_value", "bucket", "seed", "monitor",
                 "truncate", "stateful", "gradient_checkpoint")  # fmt: skip
        return {
            "network": self.network.to_json(),
            **{kind: getattr(t, kind).describe() for kind in ("loss", "optimizer", "schedule")},
            **{name: getattr(t, name) for name in named},
            "dtype": self.params.dtype.name,
            "teacher_forcing": forcing.describe() if isinstance(forcing, Bound) else forcing,
            "start": zlib.crc32(self.params.flat.data),
            "training data": self.train.checksum(),
            "validation data": self.valid.checksum() if self.valid is not None else None,
        }

    def resume(self) -> None:
        """Go on where the checkpoint stands; its writer, killed perhaps, owns it no longer."""
        path = self.trainer.checkpoint
        assert path is not None
        self.state = load_checkpoint(path, self.settings, self.params.flat.size)
        discard_leftovers(path)
        self.params = self.params.with_flat(self.state.flat)
        if self.optimization is not None:
            self.optimization.slots, self.optimization.count = self.state.slots, self.state.updates
        if self.state.stopped in ("epochs", "patience"):  # the trainer may allow more of them now
            self.state.stopped = self._verdict()

    def to_the_end(self) -> RunState:
        """Run epochs until one of them is the last."""
        state, trainer = self.state, self.trainer
        total = trainer.epochs * len(self.train) if self.optimization else None
        done = state.epoch * len(self.train) + state.tally.sequences
        if trainer.progress:
            self._compile()
        self._since = time.perf_counter()
        with Progress(trainer.progress, total, done if total else 0) as self.bar:
            while state.stopped is None:
                converged = self._batches(self.optimization) if self.optimization else self._round()
                if state.stopped is None:
                    self._end_epoch(converged)
                if trainer.checkpoint and (state.stopped or state.epoch % trainer.checkpoint_epochs == 0):
                    self.save()
        return state

    def _compile(self) -> None:
        """Compile before the bar counts: a new cell's first step takes seconds, and says nothing of the others."""
        first = np.arange(1)
        x, target, lengths = self.train.batch(first, 0, self.trainer.truncate)
        own = self.train.own_lengths(first)
        given: dict[str, Any] = {"lengths": lengths, **own}
        params = self.placed(self.params)
        for forcing in (None,) if self.trainer.teacher_forcing is None else ("never", "always"):
            taught: dict[str, Any] = {} if forcing is None else {"teacher_forcing": forcing}
            self.network.loss_and_grad(params, x, target, loss=self.trainer.loss, **given, **taught)
        if self.valid is not None:
            self.network(params, x, **given)
        if self.valid is not None and own:
            self.network(params, x, target=target, **given)

    def save(self) -> None:
        """Write the checkpoint."""
        assert self.trainer.checkpoint is not None
        self._clock()
        if self.optimization is not None:
            self.state.slots = self.optimization.slots
        save_checkpoint(self.trainer.checkpoint, self.settings, self.state)

    def _batches(self, optimization: Optimization) -> bool:
        """The rest of an epoch; what it does follows from the generator's state at the epoch's start."""
        state, trainer, tally = self.state, self.trainer, self.state.tally
        rng = self._generator()
        plan = self._plan(rng)
        optimization.total = state.begun + len(plan) * (trainer.epochs - state.epoch)
        seeds = rng.integers(2**63, size=len(plan)).tolist()
        per_step, every = self.train.per_step, trainer.checkpoint_updates
        for chunk, seed in zip(plan[state.position :], seeds[state.position :], strict=True):
            x, target, lengths = self.train.batch(*chunk.part)
            own = self.train.own_lengths(chunk.indices)
            weight, value = weight_of(per_step, own.get("target_lengths", lengths)), 0.0
            if weight:
                given = {"lengths": lengths, "seed": seed, **own, **self._options(optimization)}
                value, grads = self._gradient(chunk, x, target, given)
                if not math.isfinite(value) or not optimization.update(state.flat, grads.flat):
                    return self._diverge()
                tally.add(value, weight, optimization.norm)
            state.position += 1
            state.updates = optimization.count
            done = len(chunk.indices) if chunk.last else 0
            tally.sequences += done
            self.bar.update(done, value)
            if every and trainer.checkpoint and state.updates % every == 0:
                self.save()
        state.generator, state.position = dict(rng.bit_generator.state), 0
        state.begun, state.carried = state.updates, {}
        return False

    def _plan(self, rng: np.random.Generator) -> list[Chunk]:
        """What an epoch trains on, in order."""
        trainer, lengths = self.trainer, self.train.lengths
        if trainer.stateful:
            batches = stream_batches(len(lengths), trainer.batch_size)
        else:
            batches = bucketed_batches(self.train.work, trainer.batch_size, rng, trainer.bucket)
        return chunks_of(batches, lengths, trainer.truncate, trainer.stateful)

    def _gradient(self, chunk: Chunk, x: Any, target: Any, given: dict[str, Any]) -> tuple[float, Params]:
        """Loss and gradient of a chunk, from the state that the one before left, which is a constant."""
        trainer, params = self.trainer, self.placed(self.params)
        if trainer.truncate or trainer.stateful:
            given["state"] = None if chunk.fresh else self.state.carried
            found = loss_grads_and_state(self.network, params, x, target, trainer.loss, **given)
            value, grads, self.state.carried = found
        else:
            value, grads = self.network.loss_and_grad(params, x, target, loss=trainer.loss, **given)
        return value, grads.to("cpu")

    def _round(self) -> bool:
        """A round of L-BFGS; whether there is no further progress to be made."""
        state, trainer = self.state, self.trainer
        rng = self._generator()
        plan = batches_by_length(self.train.work, trainer.batch_size)
        seeds = rng.integers(2**63, size=len(plan)).tolist()
        own = self.train.target_lengths
        weight = weight_of(self.train.per_step, self.train.lengths if own is None else own)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            params, total, slope = self.placed(self.params.with_flat(flat)), 0.0, np.zeros(flat.size)
            for indices, seed in zip(plan, seeds, strict=True):
                x, target, lengths = self.train.batch(indices)
                given = {"lengths": lengths, "seed": seed, **self.train.own_lengths(indices), **self._options()}
                value, grads = self.network.loss_and_grad(
                    params, x, target, loss=trainer.loss, reduction="sum", **given
                )
                total += value
                slope += grads.to("cpu").flat
            self.state.tally.sequences += len(self.train)
            self.bar.update(len(self.train), total / weight)
            return total / weight, slope / weight

        found = minimize_round(objective, state.flat, trainer.optimizer)
        if not math.isfinite(found.loss):
            return self._diverge()
        state.flat[...] = found.flat
        state.tally.add(found.loss, weight, found.grad_norm)
        state.updates += found.iterations
        state.generator = dict(rng.bit_generator.state)
        return found.finished

    def _options(self, optimization: Optimization | None = None) -> dict[str, Any]:
        """How the next gradient is computed: the tape's memory, the ratio of teacher forcing."""
        forcing, every = self.trainer.teacher_forcing, self.trainer.gradient_checkpoint
        options = {} if every is None else {"checkpoint": every}
        if optimization is not None and isinstance(forcing, Bound):
            ratio = float(forcing(optimization.count, optimization.total))
            if not 0 <= ratio <= 1:
                raise InputError(f"schedule {forcing!r} gives {ratio}, which is no ratio of teacher forcing in [0, 1]")
            return {**options, "teacher_forcing": ratio}
        return options if forcing is None else {**options, "teacher_forcing": forcing}

    def _generator(self) -> np.random.Generator:
        rng = np.random.default_rng()
        rng.bit_generator.state = self.state.generator
        return rng

    def _diverge(self) -> bool:
        self.state.stopped = "diverged"
        warnings.warn(
            f"training diverged in epoch {self.state.epoch + 1}, after {self.state.updates} updates: the "
            "loss or its gradient is not finite; a lower learning rate or clip_norm may help, if the data has no NaN",
            RuntimeWarning,
            stacklevel=5,
        )
        return True

    def _end_epoch(self, converged: bool) -> None:
        """Validate, record, keep the best, and decide whether to go on."""
        state, trainer, tally = self.state, self.trainer, self.state.tally
        state.epoch += 1
        record: dict[str, Any] = {"epoch": state.epoch, "loss": tally.loss / tally.weight}
        self._clock()
        speed = tally.sequences / tally.seconds
        if self.valid is not None:
            found = evaluate(
                self.network, self.placed(self.params), self.valid, loss=trainer.loss,
                batch_size=trainer.batch_size if trainer.stateful else 256, stateful=trainer.stateful,
            )  # fmt: skip
            record |= {f"val_{name}": found[name] for name in ("loss", "accuracy", "exact_match") if name in found}
        self._clock()
        if self.optimization is not None:
            record["learning_rate"] = self.optimization.rate(state.updates - 1)
        record |= {"grad_norm": tally.norm / tally.batches, "seconds": tally.seconds}
        record["sequences_per_second"] = speed
        state.tally = Tally()
        state.history.append(record)
        self.bar.epoch(record, trainer.epochs)
        self._keep_best(record)
        state.stopped = "converged" if converged else self._verdict()
        if trainer.on_epoch is not None and trainer.on_epoch(dict(record)) and state.stopped is None:
            state.stopped = "callback"

    def _keep_best(self, record: dict[str, Any]) -> None:
        state = self.state
        monitor = self.trainer.monitor or ("val_loss" if self.valid is not None else "loss")
        score = [record[monitor]] if monitor.endswith("loss") else [-record[monitor], record["val_loss"]]
        if not math.isnan(score[0]) and (not state.best_score or score < state.best_score):
            state.best, state.best_score, state.best_epoch = state.flat.copy(), score, state.epoch

    def _verdict(self) -> str | None:
        """Why the run is over, if it is."""
        state, trainer = self.state, self.trainer
        if trainer.patience and state.best_epoch and state.epoch - state.best_epoch >= trainer.patience:
            return "patience"
        return "epochs" if state.epoch >= trainer.epochs else None

    def _clock(self) -> None:
        now = time.perf_counter()
        self.state.seconds += now - self._since
        self.state.tally.seconds += now - self._since
        self._since = now
