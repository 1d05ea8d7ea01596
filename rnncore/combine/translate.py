"""Sequence to sequence: an encoder, what is handed over, and a loop that writes another sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import InputError
from ..lang.cell import Layer
from ..lang.dims import UNITS
from .attention import key, keys_of, scorer_step
from .blocks import Block, Chain, Join, Loop, Reverse
from .topology import Arrangement, as_block
from .wired import Wired

__all__ = ["BRIDGES", "KEYS", "VALUES", "Translate", "bridge_paths", "holds_translate", "translate"]

BRIDGES = ("affine", "copy", "zero")
KEYS, VALUES = "scorer.", "values"


@dataclass(frozen=True)
class Translate(Block):
    """A decoder's loop that starts from an encoder's end and sees the encoder's outputs as its source ``values``.

    ``keys`` is the loop, without states, of what the scorer computes of each output; None where it computes nothing.
    """

    encoder: Block
    decoder: Loop
    keys: Loop | None
    bridge: str

    def walk(self, prefix, sizes):
        yield from self.encoder.walk(f"{prefix}encoder.", sizes)
        yield from self._own(prefix, sizes)

    def _own(self, prefix: str, sizes) -> Iterator[tuple[str, Any, dict[Any, int]]]:
        read = self._read(sizes)
        if self.keys is not None:
            yield from self.keys.walk(prefix + KEYS, {"x": read[VALUES]})
        yield from self.decoder.walk(prefix, read)

    def _read(self, sizes) -> dict[str, int]:
        """Sizes of what the decoder may read."""
        read = {**sizes, VALUES: self.encoder.features(sizes)}
        if self.keys is not None:
            read[KEYS + "k0"] = self.keys.features({"x": read[VALUES]})
        return read

    def readers(self):
        yield from self.encoder.readers()

    def features(self, sizes):
        return self.decoder.features(self._read(sizes))

    def handed(self, prefix: str, sizes) -> list[tuple[str, int, list[tuple[str, int]]]]:
        """What starts each state of the decoder's cell: (its path, its size, the encoder's final states and sizes)."""
        key = prefix, tuple(sizes.items())
        if key not in self._known:
            self._known[key] = list(self._handed(prefix, sizes))
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple, list]:
        return {}

    def _handed(self, prefix: str, sizes) -> Iterator[tuple[str, int, list[tuple[str, int]]]]:
        if self.bridge == "zero":
            return
        ends = {p: (layer.step, numbers) for p, layer, numbers in self.encoder.walk(f"{prefix}encoder.", sizes)}
        *_, (_, layer, numbers) = self._own(prefix, sizes)
        for (path, member), last in zip(layer.members, self._lasts(f"{prefix}encoder.", len(layer.members))):
            for state in member.step.states:
                found = []
                for p in last:
                    step, of = ends[p]
                    name = state if state in step.states else step.output_state
                    found.append((p + name, of[step.dims[name]]))
                yield prefix + path + state, numbers[layer.step.dims[path + state]], found

    def _lasts(self, prefix: str, layers: int) -> list[list[str]]:
        """For each layer of the decoder the loops whose ends it starts from: layer by layer where both have as many."""
        encoder = self.encoder
        if isinstance(encoder, Chain) and len(encoder.blocks) == layers:
            return [last_paths(block, f"{prefix}{k}.") for k, block in enumerate(encoder.blocks)]
        return [last_paths(encoder, prefix)] * layers

    def parameters(self, prefix, sizes):
        rows = self.handed(prefix, sizes)
        if self.bridge == "copy":
            for path, size, found in rows:
                total = sum(n for _, n in found)
                if total != size:
                    what = " and ".join(p for p, _ in found)
                    raise InputError(
                        f"bridge='copy' hands {what} ({total} numbers) to {path!r} ({size}): use bridge='affine'"
                    )
            return
        for path, size, found in rows:
            matrix, bias = bridge_paths(prefix, path)
            yield matrix, (size, sum(n for _, n in found)), "input", None, None
            yield bias, (size,), "bias", None, None


def bridge_paths(prefix: str, path: str) -> tuple[str, str]:
    """The matrix and the vector of the map that makes a decoder's state."""
    path = path.removeprefix(prefix)
    name = path.partition(".")[2] or path
    return f"{prefix}bridge.W_{name}", f"{prefix}bridge.b_{name}"


def holds_translate(block: Block) -> bool:
    """Whether a block is, or holds, a decoder with its encoder."""
    inner = [b for b in (*getattr(block, "blocks", ()), getattr(block, "block", None)) if b is not None]
    return isinstance(block, Translate) or any(holds_translate(b) for b in inner)


def last_paths(block: Block, prefix: str) -> list[str]:
    """Paths of the loops whose outputs are a block's output."""
    if isinstance(block, Loop):
        return [prefix]
    if isinstance(block, Reverse):
        return last_paths(block.block, prefix)
    if isinstance(block, Chain):
        k = len(block.blocks) - 1
        return last_paths(block.blocks[k], f"{prefix}{k}.")
    if isinstance(block, Join):
        pairs = zip(block.names, block.blocks)
        return [path for name, inner in pairs for path in last_paths(inner, f"{prefix}{name}.")]
    raise InputError(f"an encoder is made of layers, stacks and directions, got {type(block).__name__}")


def translate(encoder, fn: Callable, decoder, *, scorer=None, bridge: str = "affine", **options) -> Translate:
    """An encoder, and a decoder wired by a function (see `wired`), which reads the source ``values``.

    Parameters
    ----------
    encoder : Layer, Arrangement or Block
    fn : callable
        ``fn(net, *layers, scorer=scorer, **options)``; it feeds its output back, and asks with its last layer.
    decoder : Layer, or Arrangement of layers one after another
    scorer : Scorer or Bound, optional
    bridge : {"affine", "copy", "zero"}
        How the decoder's states start: an affine map of the encoder's final states, these themselves, or zero.

    Raises
    ------
    InputError
        An impossible choice.
    """
    layers = _layers_of(decoder)
    if bridge not in BRIDGES:
        raise InputError(f"bridge must be one of {', '.join(BRIDGES)}, got {bridge!r}")
    wiring = Wired(fn, layers, (("scorer", scorer), *options.items()))
    if wiring.fed_back is None:
        raise InputError(f"{fn.__name__} must feed its output back: net.next(state, value, output=True)")
    return Translate(as_block(encoder), Loop(wiring), _keys(scorer, layers[-1]), bridge)


def _layers_of(decoder) -> tuple[Layer, ...]:
    """The layers of a decoder, from the bottom up: they become one step."""
    what = "a decoder is a cell called with its units, or such layers one after another"
    if not isinstance(decoder, (Layer, Arrangement, Block)):
        raise InputError(f"{what}; got {type(decoder).__name__}: {decoder!r}")
    block = as_block(decoder)
    if isinstance(block, Chain) and (block.dropout or block.residual):
        raise InputError(f"{what}, without dropout and residual connections between them; got {decoder!r}")
    blocks = block.blocks if isinstance(block, Chain) else (block,)
    layers = [b.layer for b in blocks if isinstance(b, Loop) and isinstance(b.layer, Layer)]
    if len(layers) < len(blocks):
        raise InputError(f"{what}; got {decoder!r}")
    return tuple(layers)


def _keys(scorer, decoder: Layer) -> Loop | None:
    found = [] if scorer is None else keys_of(scorer_step(scorer))
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"scorer {scorer!r} multiplies the key by {len(found)} matrices apart; one can be used")
    step = decoder.step
    size = step.dims[step.states[0]]
    if size != UNITS and not isinstance(size, int):
        raise InputError(f"a decoder's state must be sized by its units, that of {decoder!r} is sized by {size!r}")
    query = decoder.units if size == UNITS else size
    items = (("scorer", scorer), ("place", 0), ("units", query), ("query", query), ("prefix", ""))
    return Loop(Wired(key, (), items))
