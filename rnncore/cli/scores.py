"""How good a model is on data with targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Sequences
from ..registry import current
from ..train import evaluate
from .prepared import Model

__all__ = ["Scores", "score", "table"]

_SHOWN = 20


@dataclass(frozen=True)
class Scores:
    """Numbers by name and, for classes, the confusion matrix (true, predicted)."""

    numbers: dict[str, float]
    confusion: np.ndarray | None = None

    @property
    def line(self) -> str:
        """The numbers in one line."""
        if self.confusion is None:
            return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in self.numbers.items())
        right = f"{self.confusion.trace()} of {self.confusion.sum()}"
        return f"accuracy {self.numbers['accuracy']:.4f} ({right}), loss {self.numbers['loss']:.4g}"


def score(model: Model, data: Sequences) -> Scores:
    """Loss, with accuracy and confusions of classes, or the errors of values in the units of the file."""
    preparation, outputs = model.preparation, model.outputs(data)
    loss = current().get("loss", preparation.loss["name"])(**preparation.loss["options"])
    found = evaluate(model.network, model.params, preparation.dataset(data), loss=loss)
    if preparation.classes is None:
        return Scores({"loss": found["loss"], **_errors(_end_to_end(preparation.restored(outputs)), data)})
    count = len(preparation.classes)
    guess = _end_to_end(outputs).argmax(-1)
    pairs = np.bincount(_end_to_end(data.y) * count + guess, minlength=count**2)
    confusion = pairs.reshape(count, count)
    return Scores({"accuracy": confusion.trace() / max(confusion.sum(), 1), "loss": found["loss"]}, confusion)


def _end_to_end(parts: Any) -> np.ndarray:
    return np.concatenate(parts) if isinstance(parts, list) else parts


def _errors(values: np.ndarray, data: Sequences) -> dict[str, float]:
    true = _end_to_end(data.y)
    wrong, spread = values - true, true - true.mean(0)
    found = {
        "mean_squared_error": float((wrong**2).mean()),
        "mean_absolute_error": float(np.abs(wrong).mean()),
    }
    total = float((spread**2).sum())
    return {**found, "r2": 1 - float((wrong**2).sum()) / total} if total else found


def table(confusion: np.ndarray, classes: tuple[str, ...]) -> str:
    """The confusion matrix as text: rows are true, columns predicted; of many classes the worst pairs."""
    if len(classes) > _SHOWN:
        return _worst(confusion, classes)
    width = max(len(str(confusion.max())), *map(len, classes)) + 2
    head = max(max(map(len, classes)), len("true \\ predicted"))
    lines = ["true \\ predicted".ljust(head) + "".join(c.rjust(width) for c in classes) + "   recall"]
    for name, row in zip(classes, confusion, strict=True):
        recall = f"{row[classes.index(name)] / row.sum():9.4f}" if row.sum() else "        -"
        lines.append(name.ljust(head) + "".join(str(n).rjust(width) for n in row) + recall)
    return "\n".join(lines)


def _worst(confusion: np.ndarray, classes: tuple[str, ...]) -> str:
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_SHOWN]
    pairs = [np.unravel_index(k, wrong.shape) for k in order if wrong.flat[k]]
    lines = [f"{wrong[i, j]:6d}  {classes[i]} taken for {classes[j]}" for i, j in pairs]
    return "\n".join(["most frequent confusions", *lines])
