"""Everything of a run that changes, and its checkpoint: what is saved is all that a resumed run needs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..errors import FileError
from .files import read_arrays, write_arrays
from .history import History

__all__ = ["Interrupted", "RunState", "save_checkpoint", "load_checkpoint"]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run.

    Parameters
    ----------
    where : str
        The epoch, in words.
    kept : str or None
        The checkpoint and what it holds, in words; None where none was written.
    """

    def __init__(self, where: str, kept: str | None):
        super().__init__(where, kept)
        self.where, self.kept = where, kept

    def __str__(self) -> str:
        how = f"fit(..., resume=True) goes on from {self.kept}" if self.kept else "no checkpoint was written"
        return f"{self.where}; {how}"


@dataclass
class Tally:
    """Sums over the batches of the epoch at hand."""

    loss: float = 0.0
    weight: int = 0
    norm: float = 0.0
    batches: int = 0
    sequences: int = 0
    seconds: float = 0.0

    def add(self, loss: float, weight: int, norm: float) -> None:
        """Count a batch: its mean loss over `weight` targets, the length of its gradient."""
        self.loss += loss * weight
        self.weight += weight
        self.norm += norm
        self.batches += 1


@dataclass
class RunState:
    """Where a run stands.

    Parameters
    ----------
    flat : ndarray, (n,)
        The parameters now.
    generator : dict
        State of the generator at the start of the epoch at hand: batches and dropout come from it.
    epoch, position : int
        Epochs behind, and batches (of truncated BPTT: chunks) of the epoch at hand.
    updates, begun : int
        Updates of the parameters, and how many there were when the epoch at hand began.
    slots : dict of str to ndarray, (n,)
        The optimizer's.
    best : ndarray, (n,), optional
        The parameters of the best epoch.
    best_score : list of float
        Lower is better, the first number first.
    best_epoch : int, optional
    stopped : str, optional
        Why the run is over.
    carried : dict of str to ndarray, (batch, size)
        States that the last chunk left, for the next.
    kept : str, optional
        What the checkpoint holds, in words; None where there is none.
    """

    flat: np.ndarray
    generator: dict[str, Any]
    epoch: int = 0
    position: int = 0
    updates: int = 0
    begun: int = 0
    slots: dict[str, np.ndarray] = field(default_factory=dict)
    best: np.ndarray | None = None
    best_score: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str | None = None
    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    history: History = field(default_factory=History)
    carried: dict[str, np.ndarray] = field(default_factory=dict)
    kept: str | None = None

    def held(self, path: str | os.PathLike) -> None:
        """Remember that all of this is in a checkpoint."""
        whole = f"epoch {self.epoch}"
        part = f"{self.position} batches of epoch {self.epoch + 1}" if self.position else whole
        self.kept = f"{os.fspath(path)}, after {part}"

    def interrupted(self, epochs: int) -> Interrupted:
        """What to raise where Ctrl-C ends a run of so many epochs."""
        return Interrupted(f"in epoch {min(len(self.history) + 1, epochs)} of {epochs}", self.kept)


_PLAIN = ("generator", "epoch", "position", "updates", "begun", "best_score", "best_epoch", "stopped", "seconds")


def save_checkpoint(path: str | os.PathLike, settings: Mapping[str, Any], state: RunState) -> None:
    """Write a run atomically: arrays, and as JSON its settings and all else of its state.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    arrays = {"params": state.flat, **{f"slot.{name}": slot for name, slot in state.slots.items()}}
    arrays |= {f"carried.{path}": value for path, value in state.carried.items()}
    if state.best is not None:
        arrays["best"] = state.best
    plain = {name: getattr(state, name) for name in _PLAIN}
    plain |= {"tally": asdict(state.tally), "history": state.history.records}
    settings = dict(settings)
    text = {"network": settings.pop("network"), "settings": json.dumps(settings), "state": json.dumps(plain)}
    write_arrays(path, "checkpoint", arrays, text)
    state.held(path)


def load_checkpoint(path: str | os.PathLike, settings: Mapping[str, Any], size: int) -> RunState:
    """Read the run that `save_checkpoint` wrote, if it is one of these settings and of `size` parameters.

    Raises
    ------
    FileError
        If the file is damaged, or belongs to a run of other settings; the first that differs is named.
    """
    where = os.fspath(path)
    arrays, text = read_arrays(path, "checkpoint")
    arrays = {name: np.array(a) for name, a in arrays.items()}  # a run writes to them
    try:
        found = {**json.loads(text["settings"]), "network": text["network"]}
        plain = json.loads(text["state"])
        slots, carried = (
            {n.removeprefix(kind): a for n, a in arrays.items() if n.startswith(kind)} for kind in ("slot.", "carried.")
        )
        tally, history = Tally(**plain.pop("tally")), History(plain.pop("history"))
        state = RunState(
            arrays["params"], slots=slots, best=arrays.get("best"), tally=tally, history=history, carried=carried,
            **plain,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{where}: a checkpoint of another version of rnncore ({error!r})") from error
    for name, value in json.loads(json.dumps(dict(settings))).items():
        if found.get(name) != value:
            raise FileError(
                f"{where}: this checkpoint is of another run: {name} was {_brief(found.get(name))}, "
                f"now it is {_brief(value)}"
            )
    wrong = [name for name, a in arrays.items() if a.shape != (size,) and not name.startswith("carried.")]
    if wrong:
        raise FileError(f"{where}: {wrong[0]} has shape {arrays[wrong[0]].shape}, expected ({size},)")
    state.held(path)
    return state


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
