"""``rnncore train``."""

import json
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..data import Sequences, japanese_vowels
from ..errors import InputError
from ..train import TrainingResult
from ..train.files import write_atomically
from .options import TrainOptions
from .output import make_folder, say
from .prepared import Model, read_data
from .recipe import Recipe
from .scores import Scores, score

__all__ = ["train"]


def train(options: TrainOptions) -> None:
    """Train a network on sequences and say how well it does on others.

    Writes model.safetensors, report.json and curve.png into the folder of --out. A first run holds
    out a part of the training data and draws its curve; a second run learns all of it.

    Example: rnncore train mine.csv others.csv --plugin my_cell.py --cell my_cell
    """
    data = _training_data(options)
    report: dict[str, Any] = {"rnncore": version("rnncore"), "data": repr(data)}
    runs = _train(Recipe(options, data), report)
    model, result = runs[-1]
    folder = options.out
    model.save(folder / "model.safetensors")
    runs[0][1].history.save_plot(folder / "curve.png")
    test = _test_data(options, model)
    if test is not None:
        report["test"] = _scored("test", test.source, score(model, test))
    _write_report(options, report, [r for _, r in runs])
    for path in options.checkpoints:
        path.unlink(missing_ok=True)
    say("written", ", ".join(str(folder / n) for n in ("model.safetensors", "report.json", "curve.png")))


def _train(recipe: Recipe, report: dict[str, Any]) -> list[tuple[Model, TrainingResult]]:
    """One run or two, each with its model; the last is the one to keep."""
    options, network = recipe.options, recipe.network
    recipe.trainer()  # a setting that cannot be is refused before anything is written, and so is a device
    count = recipe.start.flat.size
    make_folder(options.out)
    report |= {"network": repr(network.layer), "parameters": count}
    say("data", repr(recipe.data))
    say("network", f"{network.layer!r}, {count:,} parameters")
    runs, last_epoch = [], None
    if options.validation:
        first, preparation, held = recipe.first_run()
        last_epoch = first.best_epoch if options.patience else None
        runs.append((Model(network, first.params, preparation), first))
        found = score(runs[0][0], held)
        report["validation"] = _scored("validation", f"{len(held)} of {len(recipe.data)} sequences", found)
    if options.refit or not options.validation:
        second, preparation = recipe.second_run(last_epoch)
        runs.append((Model(network, second.params, preparation), second))
    result = runs[-1][1]
    say("trained", f"{len(result.history)} epochs, {result.updates} updates, {result.seconds:.1f} s")
    return runs


def _training_data(options: TrainOptions) -> Sequences:
    if options.train is None:
        return japanese_vowels()[0]
    data = read_data(options.train, options.columns)
    if data.y is None:
        raise InputError(f"{options.train} has no targets to learn; of a .csv, --target COLUMN names them")
    return data


def _test_data(options: TrainOptions, model: Model) -> Sequences | None:
    if options.train is None:
        return japanese_vowels()[1]
    return model.read(options.test, {}, targets=True) if options.test else None


def _scored(name: str, on: str, found: Scores) -> dict[str, Any]:
    say(name, f"{on}: {found.line}")
    confusion = None if found.confusion is None else found.confusion.tolist()
    return {"on": on, **found.numbers, "confusion": confusion}


def _write_report(options: TrainOptions, report: dict[str, Any], results: list[TrainingResult]) -> None:
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
    report["settings"] = settings | {"plugin": [str(p) for p in options.plugin or ()]}
    report["runs"] = [
        {
            "epochs": len(r.history), "best_epoch": r.best_epoch, "stopped": r.stopped, "updates": r.updates,
            "seconds": r.seconds, "history": r.history.records,
        }
        for r in results
    ]  # fmt: skip
    packages = {name: version(name) for name in ("numpy", "numba")}
    report["made_with"] = {"python": sys.version.split()[0], "machine": platform.platform(), **packages}
    write_atomically(options.out / "report.json", json.dumps(report, indent=1).encode())
