"""A network rewired for generation, with what it reads: runs of many steps, or one step of many hypotheses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backends import backend_of
from .combine.blocks import Loop
from .combine.speaking import FORCED, GIVEN, HOW, LOG, STATE, TOKEN, Speaking, speaks
from .combine.wired import Wired
from .errors import InputError
from .execute import for_caller
from .inputs import Batch, Tokens
from .lang.cell import sizes_of
from .lang.drawing import DRAW
from .layout import Rows, Sources, layout_of
from .passes import Pass
from .teaching import features_at
from .translation import encode
from .writing import writes

__all__ = ["Speaker", "Voice"]


@dataclass(frozen=True, eq=False)
class Voice:
    """The loop that generates, which a network is rewired to, its sizes, and its weights, packed."""

    layer: Any
    sizes: Mapping[Any, int]
    prepared: Any

    @classmethod
    def of(cls, net, params, weights: str | None = None) -> Voice:
        """That of a network; `weights` says how matrices are stored (see `Network.bind`).

        Raises
        ------
        InputError
            What the network gives cannot be what it reads next.
        """
        layer = _rewired(net)
        features = features_at(net, "") if isinstance(layer.block, Wired) else {}
        sizes = sizes_of(layer, {**features, GIVEN: 1, FORCED: 1, HOW: DRAW})
        backend = backend_of(params.device, params.rounding)
        own = _weights(layer, params, backend)
        return cls(layer, sizes, backend.prepare(layer, "infer", own, sizes, str(params.dtype), weights or ""))

    def release(self) -> None:
        """Give the memory of the packed weights back."""
        self.prepared.weights.release()


class Speaker:
    """One generation: the rewired loop, its packed weights, the state that it starts from, what it reads.

    With `bound` the network is called, and its loop was packed, as that says.

    Attributes
    ----------
    classes : int
        Size of the output, which is drawn from.
    lead : ndarray of int, (batch,)
        Steps of each sequence before the first class is drawn: a prompt's, but for its last token.
    limit : ndarray of int, (batch,)
        The most classes that each sequence may draw.
    start : dict of str to ndarray
    """

    def __init__(self, net, params, x, lengths, state, steps: int, mask=None, reset=None, bound=None):
        self.net, self.params, self.backend = net, params, backend_of(params.device, params.rounding)
        self.sources: Sources | None = None
        self.xs: dict[str, np.ndarray] = {}
        self.layer, self.bound = _rewired(net), bound
        chained = not isinstance(self.layer.block, Wired)
        given = {"steps": steps} if not chained and (writes(net) or net.counts_steps) else {}
        if (mask is not None or reset is not None) and not writes(net):
            raise InputError(f"mask and reset are of the source that a decoder reads; this network has none: {net!r}")
        self.batch: Batch = net._batch(params, x, lengths, state, mask=mask, reset=reset, **given)
        self.limit = np.full(self.batch.size, steps, np.int64)
        self.lead = np.zeros(self.batch.size, np.int64)
        self.tokens = isinstance(net.inputs, Tokens) and net.feed != "first"
        pass_ = Pass(net, params, self.batch, False, None, bound)
        if chained:
            self._prompt()
        elif writes(net):
            pass_ = encode(pass_, net.block, "", self.batch.arrays, Rows(self.batch.base, 1), net.fed)[0]
            self.sources = pass_.sources
        else:
            self._in_step(steps)
        self.classes = self.layer.outputs
        self.voice = Voice.of(net, params) if bound is None else bound.voice
        self.start = pass_.start("", self.layer.step.states)
        if chained:
            self.start[STATE] = self.one_hot(self.batch.arrays["x"][self.backend.index(self.batch.base), 0])

    def _prompt(self) -> None:
        short = np.flatnonzero(self.batch.lengths < 1)
        if short.size:
            raise InputError(f"a prompt has at least one token, that of sequence {short[0]} has none")
        self.lead = self.batch.lengths - 1

    def _in_step(self, steps: int) -> None:
        """A network that writes in step with what it reads."""
        if self.batch.time != steps:
            time = self.batch.time
            raise InputError(f"this network writes in step with x, which has {time} steps; got steps={steps}")
        self.xs, self.limit = self.batch.arrays, self.batch.lengths

    def one_hot(self, tokens: np.ndarray) -> np.ndarray:
        """(n, classes) of (n,) integers."""
        made = self.backend.zeros((len(tokens), self.classes), self.params.dtype)
        made[self.backend.xp.arange(len(tokens)), tokens] = 1
        return made

    def run(self, how: np.ndarray):
        """Read the prompt, then draw classes up to the limit, each read at the next step; how: (batch, steps, 4).

        Returns
        -------
        tokens : ndarray of int, (batch, steps)
        logs : ndarray, (batch, steps)
            Logarithms of their probabilities.
        state : dict of str to ndarray
        """
        lengths, rows, inputs = self._prompted(self.limit)
        first = rows.base + self.lead
        drawn = np.arange(how.shape[1]) < self.limit[:, None]
        at = (first[:, None] + np.arange(how.shape[1]))[drawn]
        inputs[HOW][self.backend.index(at)] = self.backend.put(how[drawn])
        shown = {name: self.backend.zeros((len(inputs[HOW]), 1), self.params.dtype) for name in (TOKEN, LOG)}
        state = self._loop(self.start, lengths, inputs, rows, None, shown=shown)
        index = np.minimum(first[:, None] + np.arange(how.shape[1]), len(inputs[HOW]) - 1)
        tokens, logs = (self.backend.get(shown[name])[index, 0] for name in (TOKEN, LOG))
        return tokens.astype(np.int64), logs, state

    def first(self):
        """Read the prompt, and what follows it: (outputs, state) of the step whose class is drawn first."""
        lengths, rows, inputs = self._prompted(np.minimum(self.limit, 1))
        o = self.backend.zeros((len(inputs[HOW]), self.classes), self.params.dtype)
        state = self._loop(self.start, lengths, inputs, rows, (o, 0, rows))
        return o[self.backend.index(np.minimum(rows.base + self.lead, len(o) - 1))], state

    def step(self, state: Mapping[str, np.ndarray], several: int, t: int):
        """One step of `several` hypotheses a sequence: (outputs, new state)."""
        size = self.batch.size * several
        own = Rows(np.arange(size), 1)
        read = Rows(np.repeat(self.batch.base + t, several), 1) if self.xs else own
        o = self.backend.empty((size, self.classes), self.params.dtype)
        inputs = self._inputs(len(next(iter(self.xs.values()))) if self.xs else size)
        state = self._loop(state, np.ones(size, np.int64), inputs, read, (o, 0, own), several)
        return o, state

    def shown(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The states that the network itself has, as the caller's kind of array."""
        return for_caller(self.batch, {name: v for name, v in state.items() if name in self.net.state_shapes})

    def _prompted(self, steps: np.ndarray):
        """Steps of each sequence, the prompt's first; the rows that they read; what these hold: the prompt, forced."""
        lengths = np.where(steps > 0, self.lead + steps, 0)
        base = self.batch.base if self.xs else np.cumsum(lengths) - lengths
        inputs = self._inputs(len(next(iter(self.xs.values()))) if self.xs else int(lengths.sum()))
        if self.lead.any():
            to, prompt = (self.backend.index(Rows(b, 1).index(self.lead)) for b in (base, self.batch.base + 1))
            inputs[GIVEN][to] = self.batch.arrays["x"][prompt]
            inputs[FORCED][to] = 1
        return lengths, Rows(base, 1), inputs

    def _inputs(self, rows: int) -> dict[str, np.ndarray]:
        """Nothing forced, the likeliest class drawn."""
        make, dtype = self.backend.zeros, self.params.dtype
        return {name: make((rows, n), dtype) for name, n in ((GIVEN, 1), (FORCED, 1), (HOW, DRAW))}

    def _loop(self, state, lengths: np.ndarray, inputs, rows: Rows, out, several: int = 1, shown=None):
        """Run; the final state. `out` is where outputs go, (array, 0, rows), or None."""
        sources = self.sources
        if sources is not None:
            repeated = (np.repeat(part, several) for part in (sources.base, sources.counts))
            sources = Sources(sources.arrays, *repeated)
        return self.backend.loop_forward(
            self.layer, self.voice.sizes, self.voice.prepared, layout_of(lengths, False), {**self.xs, **inputs}, rows,
            state, out, False, self.tokens, sources, shown,
        )[0]  # fmt: skip

    def release(self) -> None:
        """Give the memory of weights that were packed for this generation back."""
        if self.bound is None:
            self.voice.release()


def _weights(layer, params, backend) -> dict[str, np.ndarray]:
    """The parameters of the loop, side by side in its own order."""
    named = [p.name for p in layer.step.params]
    flat = backend.xp.concatenate([backend.xp.zeros(0, params.dtype), *(params[n].reshape(-1) for n in named)])
    ends = np.cumsum([params[n].size for n in named])
    return {n: flat[e - params[n].size : e].reshape(params[n].shape) for n, e in zip(named, ends)}


def _rewired(net) -> Any:
    """The loop that generates.

    Raises
    ------
    InputError
        What the network gives cannot be what it reads next.
    """
    if writes(net):
        return _alone(net, net.block.decoder.layer)
    layer = net.block.layer if isinstance(net.block, Loop) and net.per_step else None
    if isinstance(layer, Wired) and layer.fed_back is not None:
        return _alone(net, layer)
    tokens = isinstance(net.inputs, Tokens) and net.inputs.size == net.outputs
    if tokens and net.mode == "many-to-many" and speaks(net.block):
        return Speaking(net.block, net.outputs)
    raise InputError(
        "generate needs a network whose output can be what it reads next: a chain of layers with inputs=Tokens(K), "
        f"outputs=K and mode='many-to-many', or one that feeds its output back; got {net!r}"
    )


def _alone(net, layer: Wired) -> Speaking:
    """Layers that feed their own output back."""
    return Speaking(layer, net.state_shapes[layer.fed_back][0])
