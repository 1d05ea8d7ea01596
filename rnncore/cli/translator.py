"""A network that makes texts of texts, with their vocabularies: used, drawn, written to a file and read from it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..data import Vocabulary
from ..diagnosis import plot_attention
from ..errors import FileError, InputError
from ..generation import generate
from ..network import Network
from ..params import Params
from ..train import load_model, save_model
from ..train.files import write_atomically

__all__ = ["Translator"]

_AT_ONCE = 256


@dataclass(frozen=True)
class Translator:
    """A network with its parameters, the characters of source and target, and the most that is written of a text."""

    network: Network
    params: Params
    source: Vocabulary
    target: Vocabulary
    steps: int

    def write(self, texts: Sequence[str], beam: int | None = None) -> list[str]:
        """The translations of texts: greedy, or the best that beam search finds."""
        said: list[str] = []
        for k in range(0, len(texts), _AT_ONCE):
            x = [self.source.encode(text) for text in texts[k : k + _AT_ONCE]]
            found = generate(self.network, self.params, x, steps=self.steps, end=self.target.end, beam=beam)
            said += [self.target.decode(tokens) for tokens in found.tokens]
        return said

    def draw(self, texts: Sequence[str], path: Path) -> list[str]:
        """The translations of texts, and a picture of where the decoder looks meanwhile."""
        from matplotlib.figure import Figure

        said = self.write(texts)
        _, alpha = self.network.attention(self.params, [self.source.encode(text) for text in texts], steps=self.steps)
        rows = math.ceil(len(texts) / 2)
        figure = Figure(figsize=(13, 3.8 * rows), layout="constrained")
        axes = figure.subplots(rows, 2, squeeze=False).ravel()
        for ax in axes[len(texts) :]:
            ax.set_axis_off()
        for ax, weights, text, words in zip(axes, alpha, texts, said):
            plot_attention(weights, text, words, ax)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
        write_atomically(path, buffer.getvalue())
        return said

    def save(self, path: Path) -> None:
        """Write it, atomically."""
        words = {"source": asdict(self.source), "target": asdict(self.target), "steps": self.steps}
        save_model(path, self.network, self.params, words)

    @classmethod
    def load(cls, path: Path) -> Translator:
        """Read what `save` wrote.

        Raises
        ------
        FileError
            If the file is damaged, or no model of this command.
        """
        network, params, words = load_model(path)
        try:
            source, target = (Vocabulary(**words[name]) for name in ("source", "target"))
            return cls(network, params, source, target, int(words["steps"]))
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise FileError(f"{path}: no model of `rnncore translate`: it does not say what characters are") from error
