"""Beam search: the likeliest hypotheses of every sequence, one compiled step for all of them at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from .speaker import Speaker

__all__ = ["log_softmax", "search"]


def log_softmax(o: Any) -> Any:
    """Logarithms of softmax(o) over the last axis, float64, where `o` is."""
    o = o.astype(np.float64)
    shifted = o - o.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def search(speaker: Speaker, steps: int, beam: int, end: int | None):
    """Hypotheses in no order: tokens (batch, beam, steps), lengths and log-probabilities (batch, beam), states.

    A hypothesis that ends keeps its place, and so many fewer go on; those left go to the end. States are
    (batch * beam, size) by name, those of places without a hypothesis of no meaning.
    """
    o, state = speaker.first()
    backend = speaker.backend
    state = {name: backend.xp.repeat(v, beam, 0) for name, v in state.items()}
    found = _Found(speaker, steps, beam, end, state)
    logs = backend.xp.repeat(log_softmax(o), beam, 0).reshape(speaker.batch.size, beam, -1)
    for t in range(steps):
        parents, chosen = found.grow(logs, t)
        rows = backend.index((np.arange(len(parents))[:, None] * beam + parents).reshape(-1))
        state = {name: v[rows] for name, v in state.items()}
        state[speaker.layer.token] = speaker.one_hot(backend.index(chosen.reshape(-1)))
        found.put_away(state, t)
        if t + 1 == steps or not np.isfinite(found.live).any():
            break
        o, state = speaker.step(state, beam, t + 1)
        logs = log_softmax(o).reshape(logs.shape)
    found.close(state)
    return found.tokens, found.lengths, found.log_probs, found.states


class _Found:
    """Hypotheses that go on (`live`: their log-probabilities, -inf where there is none) and those that ended."""

    def __init__(self, speaker: Speaker, steps: int, beam: int, end: int | None, state: dict[str, np.ndarray]):
        shape = speaker.batch.size, beam
        self.beam, self.end, self.limit, self.backend = beam, end, speaker.limit, speaker.backend
        self.live = np.full(shape, -np.inf)
        self.live[speaker.limit > 0, 0] = 0
        self.words = np.full((*shape, steps), end or 0, np.int64)
        self.tokens, self.lengths = self.words.copy(), np.zeros(shape, np.int64)
        self.log_probs, self.done = np.full(shape, -np.inf), np.zeros(len(self.live), np.int64)
        self.log_probs[speaker.limit == 0, 0] = 0  # nothing may be written: that is one hypothesis
        self.states = {name: v.copy() for name, v in state.items()}

    def grow(self, logs: Any, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Go on with the likeliest of all continuations: places of their parents, and their tokens.

        They are found where `logs` is; which hypotheses there are is known on the host.
        """
        size, beam, classes = logs.shape
        xp, get = self.backend.xp, self.backend.get
        total = (self.backend.put(self.live[..., None]) + logs).reshape(size, beam * classes)
        likeliest = xp.argsort(-total, axis=1, kind="stable")[:, :beam]
        likeliest = xp.pad(likeliest, ((0, 0), (0, beam - likeliest.shape[1])))
        best, self.live = get(likeliest), get(xp.take_along_axis(total, likeliest, 1))
        self.live[np.arange(beam) >= np.minimum(beam - self.done, beam * classes)[:, None]] = -np.inf
        parents, chosen = best // classes, best % classes
        self.words = np.take_along_axis(self.words, parents[..., None], 1)
        self.words[..., t] = chosen
        self.length = t + 1
        return parents, chosen

    def put_away(self, state: dict[str, np.ndarray], t: int) -> None:
        """Hypotheses that have ended, or may not go on, keep their places."""
        over = np.isfinite(self.live) & (t + 1 >= self.limit)[:, None]
        if self.end is not None:
            over |= np.isfinite(self.live) & (self.words[..., t] == self.end)
        self._keep(np.argwhere(over), state)
        self.live[over] = -np.inf

    def close(self, state: dict[str, np.ndarray]) -> None:
        """Those that are left are hypotheses as they are."""
        self._keep(np.argwhere(np.isfinite(self.live)), state)

    def _keep(self, places: np.ndarray, state: dict[str, np.ndarray]) -> None:
        to, taken = [], []
        for b, place in places:
            at = self.done[b]
            self.tokens[b, at], self.lengths[b, at] = self.words[b, place], self.length
            self.tokens[b, at, self.length :] = self.end or 0
            self.log_probs[b, at] = self.live[b, place]
            to.append(b * self.beam + at)
            taken.append(b * self.beam + place)
            self.done[b] += 1
        if to:
            rows, chosen = (self.backend.index(np.array(v)) for v in (to, taken))
            for name, v in state.items():
                self.states[name][rows] = v[chosen]
