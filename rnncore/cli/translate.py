"""``rnncore translate``."""

import io
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Pairs, Vocabulary, date_pairs, read_pairs
from ..diagnosis import plot_attention
from ..errors import InputError
from ..generation import generate
from ..inputs import Tokens
from ..network import Network
from ..registry import current
from ..train import Dataset, Trainer, TrainingResult, save_model
from ..train.files import write_atomically
from .output import make_folder, say
from .texts import TranslateOptions

__all__ = ["translate"]

_TESTED, _SHOWN, _AT_ONCE = 2_000, 4, 256


def translate(options: TranslateOptions) -> None:
    """Train an encoder and a decoder that attends on pairs of texts, and say how many others it gets right.

    With no file it learns to write dates, in many forms and ten languages, as ISO 8601 has them. Writes
    model.safetensors, report.json, curve.png and attention.png, where the decoder looks, into the folder of --out.

    Example: rnncore translate --show "the 3rd of May, 1987"
    """
    begun = time.perf_counter()
    train, test = _pairs(options)
    task = _Task(options, train, test)
    make_folder(options.out)
    say("data", f"{train!r} to learn, {len(test)} others to be tested on")
    parameters = sum(math.prod(shape) for shape in task.network.shapes.values())
    say("network", f"{task.network.layer!r}, {parameters:,} parameters")
    result = task.fit(train)
    say("trained", f"{len(result.history)} epochs, {result.updates} updates, {result.seconds:.1f} s")
    scores = {}
    for name, beam in (("greedy", None), ("beam", options.beam)):
        said = task.write(result.params, test.sources, beam)
        scores[name] = float(np.mean([a == b for a, b in zip(said, test.targets)]))
        of = name if beam is None else f"beam of {beam}"
        say("test", f"exact match {scores[name]:.2%} of {len(test)} ({of})")
        _mistakes(test, said)
    task.draw(result.params, options.show or test.sources[:_SHOWN])
    task.save(result, scores, time.perf_counter() - begun)


class _Task:
    """A network for some pairs of texts, trained and used."""

    def __init__(self, options: TranslateOptions, train: Pairs, test: Pairs):
        self.options, self.recipe = options, current().defaults("translation")
        self.source = Vocabulary.of([*train.sources, *test.sources, *(options.show or ())])
        self.target = Vocabulary.of(train.targets, ends=True)
        self.steps = 2 * max(map(len, train.targets)) + 1
        self.network = self._network()
        self.checkpoint = options.out / "run.checkpoint"
        self.trainer = self._trainer()

    def _network(self) -> Network:
        o, registry = self.options, current()
        cell = registry.get("cell", o.cell)
        encoder = registry.get("topology", self.recipe["direction"])(cell(o.units))
        scorer = registry.get("scorer", o.scorer)()
        topology = registry.get("topology", self.recipe["topology"])
        layer = topology(encoder, cell(o.units), outputs=self.target.size, scorer=scorer)
        return Network(layer, inputs=Tokens(self.source.size))

    def _trainer(self) -> Trainer:
        o, recipe = self.options, self.recipe
        return Trainer(
            self.network, loss=recipe["loss"], optimizer=recipe["optimizer"], schedule=recipe["schedule"],
            learning_rate=o.lr, epochs=o.epochs, batch_size=o.batch, clip_norm=recipe["clip"], seed=o.seed,
            checkpoint=self.checkpoint, progress=not o.quiet,
        )  # fmt: skip

    def fit(self, pairs: Pairs) -> TrainingResult:
        """Train on most of the pairs; a twentieth is held out and says which epoch was the best."""
        x = [self.source.encode(text) for text in pairs.sources]
        target = [self.target.encode(text) for text in pairs.targets]
        part, held = Dataset(x, target, aligned=False).split(0.05, self.options.seed)
        return self.trainer.fit(part, held, resume=self.options.resume)

    def write(self, params, sources, beam: int | None = None) -> list[str]:
        """The translations of texts."""
        said: list[str] = []
        for k in range(0, len(sources), _AT_ONCE):
            x = [self.source.encode(text) for text in sources[k : k + _AT_ONCE]]
            found = generate(self.network, params, x, steps=self.steps, end=self.target.end, beam=beam)
            said += [self.target.decode(tokens) for tokens in found.tokens]
        return said

    def draw(self, params, sources) -> None:
        """Say what becomes of some texts, and draw where the decoder looks."""
        from matplotlib.figure import Figure

        said = self.write(params, sources)
        x = [self.source.encode(text) for text in sources]
        _, alpha = self.network.attention(params, x, steps=self.steps)
        rows = max(1, math.ceil(len(sources) / 2))
        figure = Figure(figsize=(13, 3.6 * rows), layout="constrained")
        axes = figure.subplots(rows, 2, squeeze=False).ravel()
        for ax in axes[len(sources) :]:
            ax.set_axis_off()
        for ax, weights, text, words in zip(axes, alpha, sources, said):
            say("", f"{text} -> {words}")
            plot_attention(weights, text, words, ax)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
        write_atomically(self.options.out / "attention.png", buffer.getvalue())

    def save(self, result: TrainingResult, scores: dict[str, float], seconds: float) -> None:
        """Write the model with its vocabularies, the curve and the report."""
        folder, o = self.options.out, self.options
        words = {"source": asdict(self.source), "target": asdict(self.target), "steps": self.steps}
        save_model(folder / "model.safetensors", self.network, result.params, words)
        result.history.save_plot(folder / "curve.png")
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(o).items() if k != "plugin"}
        report: dict[str, Any] = {"network": repr(self.network.layer), "exact_match": scores, "seconds": seconds}
        report |= {"settings": settings, "history": result.history.records}
        write_atomically(folder / "report.json", json.dumps(report, indent=1).encode())
        self.checkpoint.unlink(missing_ok=True)
        names = ("model.safetensors", "report.json", "curve.png", "attention.png")
        say("written", ", ".join(str(folder / name) for name in names) + f"; {seconds:.0f} s in all")


def _pairs(options: TranslateOptions) -> tuple[Pairs, Pairs]:
    """What to learn, and what to be tested on."""
    if options.train is None:
        return date_pairs(options.pairs, min(_TESTED, options.pairs), options.seed)
    train = read_pairs(options.train)
    if options.test is not None:
        return train, read_pairs(options.test)
    if len(train) < 40:
        raise InputError(f"{options.train} has {len(train)} pairs; 40 are the least to learn from and be tested on")
    order = np.random.default_rng(options.seed).permutation(len(train))
    return train[order[len(train) // 10 :]], train[order[: len(train) // 10]]


def _mistakes(test: Pairs, said: list[str], most: int = 3) -> None:
    wrong = [k for k, text in enumerate(said) if text != test.targets[k]]
    for k in wrong[:most]:
        say("", f"wrong: {test.sources[k]} -> {said[k]}, not {test.targets[k]}")
