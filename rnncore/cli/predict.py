"""``rnncore predict``."""

import csv
import io
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data import Sequences
from ..train.files import write_atomically
from .options import PredictOptions
from .prepared import Model

__all__ = ["predict"]


def predict(options: PredictOptions) -> None:
    """Write what a trained model predicts for sequences, as a table.

    One row a sequence, or one a step: its name, then the class with a probability of each class (the
    softmax of the outputs), or the predicted values in the units of the training file.
    """
    model = Model.load(options.model)
    data = model.read(options.data, options.columns, targets=False)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_rows(model, data))
    if str(options.output) == "-":
        sys.stdout.write(text.getvalue())
        return
    write_atomically(options.output, text.getvalue().encode())
    print(f"{options.output}: predictions for {len(data)} sequences of {data.source}")


def _rows(model: Model, data: Sequences) -> Iterator[list[Any]]:
    classes, outputs = model.preparation.classes, model.outputs(data)
    step = ["step"] if model.preparation.per_step else []
    if classes is None:
        outputs = model.preparation.restored(outputs)
        yield ["id", *step, *_value_names(model)]
    else:
        yield ["id", *step, "prediction", *(f"p({c})" for c in classes)]
    for name, out in zip(data.ids, outputs, strict=True):
        for t, row in enumerate(np.atleast_2d(out)):
            place = [name, t] if step else [name]
            yield [*place, *(map(_text, row) if classes is None else _with_class(row, classes))]


def _value_names(model: Model) -> list[str]:
    count = len(model.preparation.target_mean)
    named = model.preparation.columns.get("target")
    return list(named) if named and len(named) == count else [f"value {k}" for k in range(count)]


def _with_class(outputs: np.ndarray, classes: tuple[str, ...]) -> list[str]:
    weight = np.exp(outputs.astype(np.float64) - outputs.max())
    return [classes[int(outputs.argmax())], *map(_text, weight / weight.sum())]


def _text(value: float) -> str:
    return f"{value:.6g}"
