"""``rnncore generate``."""

import io
import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Vocabulary, sonnets
from ..errors import FileError, InputError
from ..generation import generate as written_by
from ..inputs import Tokens
from ..network import Network
from ..params import Params
from ..registry import current
from ..train import Dataset, Trainer, TrainingResult, load_model, save_model
from ..train.files import write_atomically
from .characters import GenerateOptions
from .output import make_folder, say

__all__ = ["generate"]

_HELD, _LEAST, _PIECE = 0.1, 200, 1000  # part of the text held out, characters it needs, those of a held-out piece


def generate(options: GenerateOptions) -> None:
    """Learn a text character by character, say how well others are foreseen, and write some more of it.

    With no file it learns 39 of Shakespeare's sonnets. The last tenth of the text is held out; how well its characters
    are foreseen is told in bits per character. Writes model.safetensors, report.json and curve.png into the folder of
    --out. With --model FILE nothing is learned: that model writes.

    Example: rnncore generate mine.txt --epochs 10 --prompt "It was " --temperature 0.8
    """
    if options.model is not None:
        if options.text is not None:
            raise InputError(f"--model {options.model} writes and learns nothing: leave out the text {options.text}")
        network, params, vocabulary = _load(options.model)
        print(_sample(options, network, params, vocabulary))
        return
    begun, text = time.perf_counter(), _text(options.text)
    task = _Task(options, text)
    _check_sample(options, task.network, task.vocabulary)
    make_folder(options.out)
    say("data", f"{len(text):,} characters, {task.vocabulary.size} different; the last {len(task.held):,} are held out")
    say("network", f"{task.network.layer!r}, {sum(map(math.prod, task.network.shapes.values())):,} parameters")
    result = task.fit()
    say("trained", f"{len(result.history)} epochs, {result.updates} updates, {result.seconds:.1f} s")
    bits = task.bits(result.params)
    say("held out", f"{bits:.3f} bits per character; by the frequencies of characters alone {task.unigram:.3f}")
    sample = _sample(options, task.network, result.params, task.vocabulary)
    task.save(result, bits, sample, time.perf_counter() - begun)
    options.checkpoint.unlink(missing_ok=True)
    print(f"\n{sample}")


class _Task:
    """A network for a text."""

    def __init__(self, options: GenerateOptions, text: str):
        self.options, self.recipe = options, current().defaults("generation")
        self.vocabulary = Vocabulary.of(text)
        tokens = self.vocabulary.encode(text)
        self.learned, self.held = np.split(tokens, [int(len(tokens) * (1 - _HELD))])
        registry = current()
        layer = registry.get("cell", options.cell)(options.units)
        if options.layers > 1:
            layer = registry.get("topology", self.recipe["stack"])(*[layer] * options.layers)
        self.network = Network(layer, inputs=Tokens(self.vocabulary.size), outputs=self.vocabulary.size)
        self.pieces = _pieces(self.held, max(1, min(options.batch, len(self.held) // _PIECE)))
        self.trainer = Trainer(
            self.network, loss=self.recipe["loss"], optimizer=self.recipe["optimizer"], learning_rate=options.lr,
            schedule=self.recipe["schedule"], epochs=options.epochs, batch_size=options.batch, keep="best",
            clip_norm=self.recipe["clip"], truncate=options.truncate, seed=options.seed, progress=not options.quiet,
            checkpoint=options.checkpoint,
        )  # fmt: skip

    @property
    def unigram(self) -> float:
        """Bits per held-out character, from how often each occurs in what is learned (and once more)."""
        counts = np.bincount(self.learned, minlength=self.vocabulary.size) + 1
        return float(-np.log2(counts / counts.sum())[self.held].mean())

    def fit(self) -> TrainingResult:
        """Train on pieces that are read side by side; the held-out part says which epoch was the best."""
        side_by_side = min(self.options.batch, len(self.learned) - 1)
        part, held = Dataset(*_pieces(self.learned, side_by_side)), Dataset(*self.pieces)
        return self.trainer.fit(part, held, resume=self.options.resume)

    def bits(self, params: Params) -> float:
        """Bits per held-out character."""
        return self.network.loss(params, *self.pieces, loss=self.recipe["loss"]) / math.log(2)

    def save(self, result: TrainingResult, bits: float, sample: str, seconds: float) -> None:
        """Write the model with its characters, the curve and the report."""
        folder = self.options.out
        words = {"characters": self.vocabulary.symbols}
        save_model(folder / "model.safetensors", self.network, result.params, words)
        self._draw(result, folder / "curve.png")
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.options).items() if k != "plugin"}
        report = {
            "network": repr(self.network.layer), "bits": bits, "unigram_bits": self.unigram, "sample": sample,
            "seconds": seconds, "settings": settings, "history": result.history.records,
        }  # fmt: skip
        write_atomically(folder / "report.json", json.dumps(report, indent=1).encode())
        names = ", ".join(str(folder / name) for name in ("model.safetensors", "report.json", "curve.png"))
        say("written", f"{names}; {seconds:.0f} s in all")

    def _draw(self, result: TrainingResult, path: Path) -> None:
        """Bits per character over the epochs."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        ax, history = figure.subplots(), result.history
        ax.plot(history["epoch"], history["loss"] / math.log(2), label="learned")
        ax.plot(history["epoch"], history["val_loss"] / math.log(2), label="held out")
        ax.axhline(self.unigram, color="0.6", linestyle="--", label="frequencies alone")
        ax.set(xlabel="epoch", ylabel="bits per character", ylim=(0, None))
        ax.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
        write_atomically(path, buffer.getvalue())


def _pieces(tokens: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, steps) tokens, and those that follow each of them."""
    steps = (len(tokens) - 1) // count
    first = np.arange(count)[:, None] * steps + np.arange(steps)
    return tokens[first], tokens[first + 1]


def _text(path: Path | None) -> str:
    if path is None:
        return sonnets()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read the text {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(text) < _LEAST:
        raise InputError(f"{path} has {len(text)} characters; {_LEAST} are the least to learn from")
    return text


def _load(path: Path) -> tuple[Network, Params, Vocabulary]:
    network, params, extra = load_model(path)
    symbols = extra.get("characters")
    if not isinstance(symbols, str) or network.inputs != Tokens(len(symbols)):
        raise FileError(f"{path}: no model of `rnncore generate`: it does not say which characters it writes")
    return network, params, Vocabulary(symbols)


def _sample(options: GenerateOptions, network: Network, params: Params, vocabulary: Vocabulary) -> str:
    """The prompt, if one was given, and what follows it."""
    prompt = _prompt(options, vocabulary)
    given: dict[str, Any] = {"top_k": options.top_k, "top_p": options.top_p, "beam": options.beam}
    if options.beam is None and options.temperature:
        given |= {"temperature": options.temperature, "seed": options.seed}
    found = written_by(network, params, [vocabulary.encode(prompt)], steps=options.characters, **given)
    return (options.prompt or "") + vocabulary.decode(found.tokens[0])


def _check_sample(options: GenerateOptions, network: Network, vocabulary: Vocabulary) -> None:
    """What cannot be written is an error before anything is learned."""
    _sample(replace(options, characters=1), network, network.init(), vocabulary)


def _prompt(options: GenerateOptions, vocabulary: Vocabulary) -> str:
    return options.prompt or ("\n" if "\n" in vocabulary.symbols else vocabulary.symbols[0])
