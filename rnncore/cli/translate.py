"""``rnncore translate``."""

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Pairs, Vocabulary, date_pairs, read_pairs
from ..errors import InputError
from ..inputs import Tokens
from ..network import Network
from ..registry import current
from ..train import Dataset, Trainer, TrainingResult
from ..train.files import write_atomically
from .output import make_folder, say
from .pairs import TranslateOptions
from .translator import Translator

__all__ = ["translate"]

_TESTED, _SHOWN, _LEAST, _HELD = 2_000, 4, 40, 0.05


def translate(options: TranslateOptions) -> None:
    """Train an encoder and a decoder that attends on pairs of texts, and say how many others it gets right.

    With no file it learns to write dates, in many forms and ten languages, as ISO 8601 has them. Writes
    model.safetensors, report.json, curve.png and attention.png, where the decoder looks, into the folder of --out.
    With --model FILE nothing is learned: that model translates what --show names.

    Example: rnncore translate --show "the 3rd of May, 1987"
    """
    if options.model is not None:
        _used(options)
        return
    begun = time.perf_counter()
    train, test = _pairs(options)
    task = _Task(options, train, test)
    make_folder(options.out)
    say("data", f"{train!r} to learn, {len(test)} others to be tested on")
    parameters = sum(map(math.prod, task.network.shapes.values()))
    say("network", f"{task.network.layer!r}, {parameters:,} parameters")
    result = task.fit(train)
    say("trained", f"{len(result.history)} epochs, {result.updates} updates, {result.seconds:.1f} s")
    translator = Translator(task.network, result.params, task.source, task.target, task.steps)
    scores = {"greedy": _score(translator, test, None), "beam": _score(translator, test, options.beam)}
    _show(translator, options.show or test.sources[:_SHOWN], options.out)
    _save(translator, options, result, scores, time.perf_counter() - begun)
    options.checkpoint.unlink(missing_ok=True)


class _Task:
    """A network for some pairs of texts, and its training."""

    def __init__(self, options: TranslateOptions, train: Pairs, test: Pairs):
        self.options, self.recipe = options, current().defaults("translation")
        self.source = Vocabulary.of([*train.sources, *test.sources])
        for text in options.show or ():
            self.source.encode(text)  # an unknown character is told before anything is learned
        self.target = Vocabulary.of(train.targets, ends=True)
        self.steps = 2 * max(map(len, train.targets)) + 1
        self.network = self._network()
        self.trainer = Trainer(
            self.network, loss=self.recipe["loss"], optimizer=self.recipe["optimizer"], learning_rate=options.lr,
            schedule=self.recipe["schedule"], epochs=options.epochs, batch_size=options.batch, seed=options.seed,
            clip_norm=self.recipe["clip"], checkpoint=options.checkpoint, progress=not options.quiet,
        )  # fmt: skip

    def _network(self) -> Network:
        o, registry = self.options, current()
        cell = registry.get("cell", o.cell)
        encoder = registry.get("topology", self.recipe["direction"])(cell(o.units))
        topology = registry.get("topology", self.recipe["topology"])
        scorer = registry.get("scorer", o.scorer)()
        layer = topology(encoder, cell(o.units), outputs=self.target.size, scorer=scorer)
        return Network(layer, inputs=Tokens(self.source.size))

    def fit(self, pairs: Pairs) -> TrainingResult:
        """Train on most of the pairs; the others, held out, say which epoch was the best."""
        x = [self.source.encode(text) for text in pairs.sources]
        target = [self.target.encode(text) for text in pairs.targets]
        part, held = Dataset(x, target, aligned=False).split(_HELD, self.options.seed)
        return self.trainer.fit(part, held, resume=self.options.resume)


def _pairs(options: TranslateOptions) -> tuple[Pairs, Pairs]:
    """What to learn, and what to be tested on."""
    if options.train is None:
        return date_pairs(options.pairs, min(_TESTED, options.pairs), options.seed)
    train = read_pairs(options.train)
    if len(train) < _LEAST:
        raise InputError(f"{options.train} has {len(train)} pairs; to learn from them takes {_LEAST} at least")
    if options.test is not None:
        return train, read_pairs(options.test)
    order = np.random.default_rng(options.seed).permutation(len(train))
    return train[order[len(train) // 10 :]], train[order[: len(train) // 10]]


def _used(options: TranslateOptions) -> None:
    """Translate with a model that there is."""
    if options.train is not None:
        raise InputError(f"--model {options.model} translates and learns nothing: leave out {options.train}")
    if not options.show:
        raise InputError(f"--model {options.model} translates what --show names: give one or more")
    assert options.model is not None
    translator = Translator.load(options.model)
    for text in options.show:
        translator.source.encode(text)
    make_folder(options.out)
    _show(translator, options.show, options.out)


def _score(translator: Translator, test: Pairs, beam: int | None) -> float:
    """The share of texts without a mistake, told with the first that have one."""
    said = translator.write(test.sources, beam)
    wrong = [k for k, text in enumerate(said) if text != test.targets[k]]
    exact = 1 - len(wrong) / len(said)
    say("test", f"exact match {exact:.2%} of {len(test)} ({'greedy' if beam is None else f'beam of {beam}'})")
    for k in wrong[:3]:
        say("", f"wrong: {test.sources[k]} -> {said[k]}, not {test.targets[k]}")
    return exact


def _show(translator: Translator, texts, folder: Path) -> None:
    for text, words in zip(texts, translator.draw(texts, folder / "attention.png")):
        say("", f"{text} -> {words}")


def _save(
    translator: Translator, options: TranslateOptions, result: TrainingResult, scores: dict[str, float], seconds: float
) -> None:
    """Write model, curve and report."""
    folder = options.out
    translator.save(folder / "model.safetensors")
    result.history.save_plot(folder / "curve.png")
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
    settings |= {"plugin": [str(path) for path in options.plugin or ()]}
    report: dict[str, Any] = {"network": repr(translator.network.layer), "exact_match": scores, "seconds": seconds}
    report |= {"settings": settings, "history": result.history.records}
    write_atomically(folder / "report.json", json.dumps(report, indent=1).encode())
    names = ("model.safetensors", "report.json", "curve.png", "attention.png")
    say("written", ", ".join(str(folder / name) for name in names) + f"; {seconds:.0f} s in all")
