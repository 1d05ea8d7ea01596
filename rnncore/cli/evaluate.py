"""``rnncore evaluate``."""

import json

from .options import EvaluateOptions
from .prepared import Model
from .scores import score, table

__all__ = ["evaluate"]


def evaluate(options: EvaluateOptions) -> None:
    """Say how well a trained model does on sequences with targets.

    Prints accuracy and the confusion matrix of classes, or the errors of values in the units of the file.
    """
    model = Model.load(options.model)
    data = model.read(options.data, options.columns, targets=True)
    found = score(model, data)
    if options.as_json:
        confusion = None if found.confusion is None else found.confusion.tolist()
        print(json.dumps({"data": data.source, **found.numbers, "confusion": confusion}))
        return
    print(f"{data.source}: {found.line}")
    if found.confusion is not None and model.preparation.classes is not None:
        print(f"\n{table(found.confusion, model.preparation.classes)}")
