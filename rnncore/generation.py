"""Sequences that a network writes: the likeliest class at each step, a drawn one, or the best found by beam search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from .arguments import whole
from .beams import search
from .errors import InputError
from .lang.drawing import DRAW
from .params import Params
from .speaker import Speaker

__all__ = ["Beams", "Choice", "Generation", "generate", "written"]


@dataclass(frozen=True, eq=False)
class Beams:
    """All hypotheses of a beam search, the best of each sequence first.

    Attributes
    ----------
    tokens : ndarray of int, (batch, beam, steps)
    lengths : ndarray of int, (batch, beam)
    log_probs : ndarray, (batch, beam)
        -inf where there are fewer hypotheses than beams.
    scores : ndarray, (batch, beam)
        ``log_probs / ((5 + length) / 6) ** length_penalty``, by which they are sorted.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    log_probs: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class Generation:
    """What `generate` returns.

    Attributes
    ----------
    tokens : ndarray of int, (batch, steps)
        Past a length: the end token.
    lengths : ndarray of int, (batch,)
        Up to the end token, that included; all steps where there is none.
    log_probs : ndarray, (batch,)
        Sum of the logarithms of the network's own probabilities, softmax(o), of these tokens.
    state : dict of str to ndarray, (batch, size)
        After the last step. It has not read the last token yet: that is the prompt of what goes on. With ``end``,
        sequences that ended before went on in it, but for beams.
    beams : Beams or None
        All hypotheses of a beam search.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    log_probs: np.ndarray
    state: dict[str, np.ndarray]
    beams: Beams | None = None

    def __repr__(self) -> str:
        many = f", the best of {self.beams.tokens.shape[1]} each" if self.beams is not None else ""
        lines = [f"<Generation of {len(self.lengths)} sequences{many}:"]
        for b in range(min(len(self.lengths), 8)):
            shown = " ".join(map(str, self.tokens[b, : min(self.lengths[b], 20)]))
            dots = " ..." if self.lengths[b] > 20 else ""
            lines.append(f"  {shown}{dots}  (log-probability {self.log_probs[b]:.4g})")
        return "\n".join([*lines, *(["  ..."] if len(self.lengths) > 8 else [])]) + ">"


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen, checked."""

    steps: int
    end: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None
    beam: int | None
    length_penalty: float

    @classmethod
    def checked(cls, steps, end, temperature, top_k, top_p, seed, beam, length_penalty) -> Choice:
        found = cls(
            _whole("steps", steps, 1), None if end is None else _whole("end", end, 0),
            None if temperature is None else _number("temperature", temperature, above=0),
            None if top_k is None else _whole("top_k", top_k, 1),
            None if top_p is None else _number("top_p", top_p, above=0, most=1),
            None if seed is None else _whole("seed", seed, 0), None if beam is None else _whole("beam", beam, 1),
            _number("length_penalty", length_penalty, least=0),
        )  # fmt: skip
        for name, value in (("top_k", top_k), ("top_p", top_p)):
            if value is not None and temperature is None:
                raise InputError(f"{name}={value!r} cuts what is drawn from: give a temperature, such as 1.0")
        if found.temperature is not None and found.beam is not None:
            raise InputError(f"beam={beam!r} searches and temperature={temperature!r} draws: give one of them")
        if found.temperature is not None and found.seed is None:
            raise InputError(f"temperature={temperature!r} draws at each step: give a seed")
        return found

    def how(self, batch: int) -> np.ndarray:
        """(batch, steps, 4): temperature (0: the likeliest), top-k, top-p, a uniform number; a stream each sequence."""
        how = np.zeros((batch, self.steps, DRAW))
        how[..., 1], how[..., 2] = np.inf if self.top_k is None else self.top_k, self.top_p or 1
        if self.temperature is not None:
            how[..., 0] = self.temperature
            for b in range(batch):
                stream = np.random.SeedSequence(self.seed, spawn_key=(2, b))
                how[b, :, 3] = np.random.default_rng(stream).random(self.steps)
        return how


def generate(
    net, params: Params, x=None, *, steps: int, end: int | None = None, temperature: float | None = None,
    top_k: int | None = None, top_p: float | None = None, seed: int | None = None, beam: int | None = None,
    length_penalty: float = 0.6, lengths=None, state=None, mask=None, reset=None,
) -> Generation:  # fmt: skip
    """Let a network write: each class that it chooses is what it reads at the next step.

    Without `temperature` and `beam` the likeliest class is chosen. The whole batch and all steps are one call of one
    compiled loop; a step of all hypotheses of a beam search is one, too.

    Parameters
    ----------
    net : Network
        A chain of layers with ``inputs=Tokens(K)``, ``outputs=K`` and an output at each step; or a network that
        feeds its output back, such as a decoder, whose class is then handed on one-hot.
    params : Params
    x : array_like of int, (batch, time), or list of (T_i,) arrays
        Of a chain the prompts, of at least one token. Else what the network reads: the source of a decoder; of a
        network that writes in step with its input, as many steps as are written.
    steps : int
        The most tokens to write, 1 or more.
    end : int, optional
        The token after which a sequence is over.
    temperature : float, above 0, optional
        Draw from softmax(o / temperature).
    top_k : int, 1 or more, optional
        Draw from the k likeliest tokens (Fan, Lewis and Dauphin, ACL 2018).
    top_p : float in (0, 1], optional
        Draw from the fewest likeliest tokens that have this probability together (Holtzman et al., ICLR 2020), after
        `top_k`.
    seed : int, optional
        Drives what is drawn: a stream of its own for each sequence of the batch, the same for every number of threads.
    beam : int, 1 or more, optional
        Search with so many hypotheses a sequence; one that ended keeps its place. Their `length_penalty`, 0 or more,
        is alpha of Wu et al., arXiv:1609.08144: they are compared by log-probability / ((5 + length) / 6)^alpha.
    lengths : array_like of int, (batch,), optional
        Of x.
    state : mapping of str to (batch, size), optional
        Initial states, by the network's own names.
    mask, reset : array_like of bool or 0/1, (batch, time), optional
        Of a decoder's source, as of a call.

    Returns
    -------
    Generation

    Raises
    ------
    InputError
        An argument is impossible, or the network cannot generate; before anything is computed.

    Examples
    --------
    >>> import rnncore as rn
    >>> net = rn.Network(rn.cells.gru(16), inputs=rn.Tokens(5), outputs=5)
    >>> params = net.init(seed=0)
    >>> rn.generate(net, params, [[0, 3], [1, 2]], steps=7).tokens.shape
    (2, 7)
    >>> again = [rn.generate(net, params, [[4]], steps=7, temperature=0.8, top_p=0.9, seed=1).tokens for _ in range(2)]
    >>> bool((again[0] == again[1]).all())
    True
    >>> rn.generate(net, params, [[4]], steps=3, end=0, beam=4).beams.scores.shape
    (1, 4)
    """
    choice = Choice.checked(steps, end, temperature, top_k, top_p, seed, beam, length_penalty)
    return written(Speaker(net, params, x, lengths, state, choice.steps, mask, reset), choice)


def written(speaker: Speaker, choice: Choice) -> Generation:
    """What a speaker writes by that choice; it is released."""
    try:
        if choice.end is not None and choice.end >= speaker.classes:
            raise InputError(f"end={choice.end!r} is no token: they lie in 0..{speaker.classes - 1}")
        return _beams(speaker, choice) if choice.beam is not None else _run(speaker, choice)
    finally:
        speaker.release()


def _run(speaker: Speaker, choice: Choice) -> Generation:
    """Greedy or drawn: one call of the loop."""
    tokens, logs, state = speaker.run(choice.how(speaker.batch.size))
    lengths = _lengths(tokens, choice.end, speaker.limit)
    inside = np.arange(choice.steps) < lengths[:, None]
    tokens[~inside] = choice.end or 0
    log_probs = np.where(inside, logs, 0).sum(-1, dtype=np.float64)
    return Generation(tokens, lengths, log_probs, speaker.shown(state))


def _lengths(tokens: np.ndarray, end: int | None, limit: np.ndarray) -> np.ndarray:
    """Steps up to the first end token, that included; `limit` where there is none."""
    if end is None or not tokens.size:
        return limit.copy()
    ends = tokens == end
    return np.minimum(np.where(ends.any(1), ends.argmax(1) + 1, limit), limit)


def _beams(speaker: Speaker, choice: Choice) -> Generation:
    """The hypotheses of a beam search, sorted by their scores."""
    assert choice.beam is not None
    tokens, lengths, log_probs, state = search(speaker, choice.steps, choice.beam, choice.end)
    scores = log_probs / ((5 + lengths) / 6) ** choice.length_penalty
    order = np.argsort(-scores, axis=1, kind="stable")
    best = np.arange(len(order))[:, None], order
    beams = Beams(tokens[best], lengths[best], log_probs[best], scores[best])
    first = speaker.backend.index(np.arange(len(order)) * order.shape[1] + order[:, 0])
    kept = {name: v[first] for name, v in state.items()}
    return Generation(beams.tokens[:, 0], beams.lengths[:, 0], beams.log_probs[:, 0], speaker.shown(kept), beams)


def _whole(what: str, value: Any, least: int) -> int:
    number = whole(value, least)
    if number is None:
        raise InputError(f"{what} must be an integer of at least {least}, got {value!r}")
    return number


def _number(what: str, value: Any, least: float = -math.inf, above: float = -math.inf, most: float = math.inf) -> float:
    real = isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and math.isfinite(value)
    if not real or not above < float(value) <= most or float(value) < least:
        limits = [f"above {above:g}"] * (above > -math.inf) + [f"at least {least:g}"] * (least > -math.inf)
        limits += [f"at most {most:g}"] * (most < math.inf)
        raise InputError(f"{what} must be a number {' and '.join(limits)}, got {value!r}")
    return float(value)
