"""A decoder one step at a time: the source is read once, then each step writes one output."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from .bound import Bound
from .cpu.stepping import Program, Run
from .errors import InputError
from .forking import renewed
from .inputs import as_array
from .layout import Rows, Sources
from .passes import Pass
from .translation import encode

__all__ = ["DecoderStream"]

Arrays = Mapping[str, np.ndarray]


class DecoderStream:
    """One step of what a decoder writes at a time, the state kept inside. A snapshot; safe from several threads.

    A copy, and what comes back from a pickle, goes on by itself from the same state; it holds the source as the encoder
    read it.

    Parameters
    ----------
    net : Network
        With a decoder.
    params : Params
    x, lengths, state
        Of the source, as of a call.
    weights : {"bfloat16"}, optional
        How matrices are stored (see `Network.bind`).
    mask, reset
        Of the source, as of a call.

    Attributes
    ----------
    alpha : ndarray (batch, time) or None
        Weights with which the last step attended; None before the first, and where the decoder does not attend.
    """

    def __init__(self, net, params, x, lengths=None, state=None, weights: str | None = None, mask=None, reset=None):
        if params.device != "cpu":
            raise InputError(f"a decoder's stream runs on the CPU, these parameters are on {params.device!r}")
        run = Bound(net, params, weights)
        batch = net._batch(run.params, x, lengths, state, steps=1, mask=mask, reset=reset)
        pass_ = Pass(net, run.params, batch, False, None, run)
        writer, _ = encode(pass_, net.block, "", batch.arrays, Rows(batch.base, 1), net.fed)
        states = net.loops[""][0].step.states
        given = {s: value for s, value in (writer.batch.state or {}).items() if s in states}  # not the encoder's
        self._begin(run, writer.sources, batch.inside, given, writer.start("", states))

    def _begin(self, run: Bound, sources: Sources | None, inside: np.ndarray, given: Arrays, start: Arrays) -> None:
        """Before the first step: what was read, which steps of it count, the states handed over, and all states."""
        self._lock, self._bound, self.batch = renewed(threading.Lock()), run, len(inside)
        self._layer, self._sizes = run.net.loops[""]
        self._sources, self._inside, self._given, self._fresh = sources, inside, given, True
        self.alpha: np.ndarray | None = None
        dims = self._layer.step.dims
        self._states = {s: np.zeros((self.batch, self._sizes[dims[s]]), run.dtype) for s in self._layer.step.states}
        for s, value in start.items():
            self._states[s][...] = value
        self._prepare(run)

    def _prepare(self, run: Bound) -> None:
        step, program = self._layer.step, Program(str(run.dtype), self.batch, parallel=True)
        sources = self._sources if step.sources else None
        longest = 0 if self._sources is None else self._sources.longest
        self._o = np.zeros((self.batch, run.net.features), run.dtype)
        self._alpha = np.zeros((self.batch, longest), run.dtype)
        extras = {name: self._alpha for name in step.extras}
        rows, prepared = program.rows, run.loops[""]
        program.loop(
            self._layer, self._sizes, prepared, {}, rows, (self._o, rows), self._states, sources=sources, extras=extras
        )
        program.finish()
        self._run = Run(program, np.zeros(program.nbytes, np.uint8))

    def __reduce__(self):
        run = self._bound
        with self._lock:
            states = {k: v.copy() for k, v in self._states.items()}
            begun = self._sources, self._inside, self._given, states
            return _gone_on, (run.net, run.params, run.weights, *begun, None if self._fresh else (self.alpha,))

    def __repr__(self) -> str:
        return f"<stream of {self._bound.net!r}, batch {self.batch}, {self._bound.dtype}>"

    @property
    def state(self) -> dict[str, np.ndarray]:
        """The decoder's states after the last step, those that the encoder handed over before the first."""
        with self._lock:
            return {k: v.copy() for k, v in (self._given if self._fresh else self._states).items()}

    def step(self, y=None) -> np.ndarray:
        """One step.

        Parameters
        ----------
        y : array_like, (batch,) of classes or (batch, outputs), optional
            What the decoder reads as its last output, in place of its own.

        Returns
        -------
        o : ndarray, (batch, outputs)
        """
        given = None if y is None else self._read(y)
        with self._lock:
            if given is not None:
                self._states[self._layer.fed_back][...] = given
            self._run.go()
            self._fresh = False
            if self._layer.step.extras:
                self.alpha = self._placed(self._alpha)
            return self._o.copy()

    def _placed(self, seen: np.ndarray) -> np.ndarray:
        """Weights of the steps that are seen as (batch, time), zero elsewhere."""
        alpha = np.zeros(self._inside.shape, seen.dtype)
        alpha[self._inside] = seen[np.arange(seen.shape[1]) < self._inside.sum(1)[:, None]]
        return alpha

    def _read(self, y) -> np.ndarray:
        size = self._sizes[self._layer.step.dims[self._layer.fed_back]]
        array = as_array(y, "y")
        if array.shape == (self.batch,) and array.dtype.kind in "iu":
            if array.size and not 0 <= array.min() <= array.max() < size:
                raise InputError(f"classes must lie in 0..{size - 1}, got {array.min()} to {array.max()}")
            return np.eye(size, dtype=self._o.dtype)[array]
        if array.shape != (self.batch, size) or array.dtype.kind not in "fiub":
            want = f"({self.batch},) of classes or ({self.batch}, {size})"
            raise InputError(f"y must have shape {want}, got {array.dtype} of shape {array.shape}")
        return array.astype(self._o.dtype)


def _gone_on(net, params, weights: str | None, sources, inside, given, states, shown) -> DecoderStream:
    """A stream at `states` that was handed `given`; `shown` by its last step, None: before its first."""
    stream = DecoderStream.__new__(DecoderStream)
    stream._begin(Bound(net, params, weights), sources, inside, given, states)
    if shown is not None:
        stream._fresh, (stream.alpha,) = False, shown
    return stream
