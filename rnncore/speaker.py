"""A network rewired for generation, with what it reads: runs of many steps, or one step of many hypotheses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .combine.blocks import Loop
from .combine.speaking import FORCED, GIVEN, HOW, TOKEN, Speaking, speaks
from .combine.wired import Wired
from .cpu.layout import Rows, Sources, layout_of
from .cpu.run import loop_forward, prepare
from .errors import InputError
from .inputs import Batch, Tokens
from .lang.cell import sizes_of
from .lang.drawing import DRAW
from .passes import Pass, ragged
from .teaching import features_at
from .translation import encode
from .writing import writes

__all__ = ["Speaker"]


class Speaker:
    """One generation: the rewired loop, its packed weights, the state that it starts from, what it reads.

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

    def __init__(self, net, params, x, lengths, state, steps: int):
        self.net, self.params = net, params
        self.sources: Sources | None = None
        self.xs: dict[str, np.ndarray] = {}
        self.layer = _rewired(net)
        chained = self.layer.outputs is not None
        given = {"steps": steps} if not chained and (writes(net) or net.counts_steps) else {}
        self.batch: Batch = net._batch(params, x, lengths, state, **given)
        self.limit = np.full(self.batch.size, steps, np.int64)
        self.lead = np.zeros(self.batch.size, np.int64)
        self.tokens = isinstance(net.inputs, Tokens) and net.feed != "first"
        pass_ = Pass(net, params, self.batch, False, None)
        if chained:
            self._prompt()
        elif writes(net):
            pass_ = encode(pass_, net.block, "", self.batch.arrays, Rows(self.batch.base, 1), net.fed)[0]
            self.sources = pass_.sources
        else:
            self._in_step(steps)
        features = {} if chained else features_at(net, "")
        self.classes = net.outputs if chained else net.state_shapes[self.layer.token][0]
        self.sizes = sizes_of(self.layer, {**features, GIVEN: self.classes, FORCED: 1, HOW: DRAW})
        self.prepared = prepare(self.layer, "infer", self._weights(), self.sizes, str(params.dtype))
        self.start = {name: np.asarray(v) for name, v in pass_.start("", self.layer.step.states).items()}
        if chained:
            self.start[TOKEN] = self.one_hot(self.batch.arrays["x"][self.batch.base, 0])

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

    def _weights(self) -> dict[str, np.ndarray]:
        """The parameters of the loop, side by side in its own order."""
        named = [p.name for p in self.layer.step.params]
        flat = np.concatenate([np.zeros(0, self.params.dtype), *(self.params[n].reshape(-1) for n in named)])
        ends = np.cumsum([self.params[n].size for n in named])
        return {n: flat[e - self.params[n].size : e].reshape(self.params[n].shape) for n, e in zip(named, ends)}

    def one_hot(self, tokens: np.ndarray) -> np.ndarray:
        """(n, classes) of (n,) integers."""
        return np.eye(self.classes, dtype=self.params.dtype)[tokens]

    def run(self, steps: np.ndarray, how: np.ndarray):
        """Read the prompt, then draw `steps` classes, each read at the next step; how: (batch, most steps, 4).

        Returns
        -------
        o, drawn : ndarray, (batch, most steps, classes)
        state : dict of str to ndarray
        """
        lengths = np.where(steps > 0, self.lead + steps, 0)
        base = self.batch.base if self.xs else np.cumsum(lengths) - lengths
        rows = len(next(iter(self.xs.values()))) if self.xs else int(lengths.sum())
        inputs = self._inputs(rows)
        for b in range(self.batch.size):
            first, prompt = base[b], self.batch.base[b] + 1
            if self.lead[b]:
                read = self.batch.arrays["x"][prompt : prompt + self.lead[b], 0]
                inputs[GIVEN][first + np.arange(self.lead[b]), read] = 1
            inputs[FORCED][first : first + self.lead[b]] = 1
            at = first + self.lead[b]
            inputs[HOW][at : at + steps[b]] = how[b, : steps[b]]
        o, drawn, state = self._loop(self.start, lengths, inputs, Rows(base, 1), 1)
        own = np.cumsum(lengths) - lengths
        shown = [np.zeros((self.batch.size, how.shape[1], self.classes), self.params.dtype) for _ in range(2)]
        for b, n in enumerate(steps):
            at = own[b] + self.lead[b]
            shown[0][b, :n], shown[1][b, :n] = o[at : at + n], drawn[at : at + n]
        return *shown, state

    def first(self):
        """Read the prompt, and what follows it: (outputs, state) of the step whose class is drawn first."""
        o, _, state = self.run(np.minimum(self.limit, 1), np.zeros((self.batch.size, 1, DRAW)))
        return o[:, 0], state

    def shown(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The states that the network itself has."""
        return {name: v for name, v in state.items() if name in self.net.state_shapes}

    def step(self, state: Mapping[str, np.ndarray], several: int, t: int):
        """One step of `several` hypotheses a sequence: (outputs, new state)."""
        size = self.batch.size * several
        base = np.repeat(self.batch.base + t, several) if self.xs else np.arange(size)
        inputs = self._inputs(len(next(iter(self.xs.values()))) if self.xs else size)
        o, _, state = self._loop(state, np.ones(size, np.int64), inputs, Rows(base, 1), several)
        return o, state

    def _inputs(self, rows: int) -> dict[str, np.ndarray]:
        """Nothing forced, the likeliest class drawn."""
        widths = {GIVEN: self.classes, FORCED: 1, HOW: DRAW}
        return {name: np.zeros((rows, n), self.params.dtype) for name, n in widths.items()}

    def _loop(self, state, lengths: np.ndarray, inputs, rows: Rows, several: int):
        own, sources = ragged(lengths), self.sources
        if sources is not None:
            repeated = (np.repeat(part, several) for part in (sources.base, sources.counts))
            sources = Sources(sources.arrays, *repeated)
        o, drawn = (np.zeros((int(lengths.sum()), self.classes), self.params.dtype) for _ in range(2))
        final, _ = loop_forward(
            self.layer, self.sizes, self.prepared, layout_of(lengths, False), {**self.xs, **inputs}, rows, state,
            (o, 0, own), False, self.tokens, sources, {TOKEN: drawn},
        )  # fmt: skip
        return o, drawn, final

    def release(self) -> None:
        """Give the memory of the packed weights back."""
        self.prepared.weights.release()


def _rewired(net) -> Any:
    """The loop that generates.

    Raises
    ------
    InputError
        What the network gives cannot be what it reads next.
    """
    if writes(net):
        return Speaking(net.block.decoder.layer)
    layer = net.block.layer if isinstance(net.block, Loop) and net.per_step else None
    if isinstance(layer, Wired) and layer.fed_back is not None:
        return Speaking(layer)
    tokens = isinstance(net.inputs, Tokens) and net.inputs.size == net.outputs
    if tokens and net.mode == "many-to-many" and speaks(net.block):
        return Speaking(net.block, net.outputs)
    raise InputError(
        "generate needs a network whose output can be what it reads next: a chain of layers with inputs=Tokens(K), "
        f"outputs=K and mode='many-to-many', or one that feeds its output back; got {net!r}"
    )
