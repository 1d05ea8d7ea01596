"""A decoder one step at a time: the source is read once, then each step writes one output."""

from __future__ import annotations

import threading

import numpy as np

from .bound import Bound
from .cpu.stepping import Program, Run
from .errors import InputError
from .forking import renewed
from .inputs import as_array
from .layout import Rows
from .passes import Pass
from .translation import encode

__all__ = ["DecoderStream"]


class DecoderStream:
    """One step of what a decoder writes at a time, the state kept inside. A snapshot; safe from several threads.

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
        self._lock, self._inside, self.batch = renewed(threading.Lock()), batch.inside, batch.size
        self._layer, self._sizes = net.loops[""]
        self._given = dict(writer.batch.state or {})
        self._fresh = True
        self.alpha: np.ndarray | None = None
        self._prepare(net, run, writer)

    def _prepare(self, net, run: Bound, writer: Pass) -> None:
        step, program = self._layer.step, Program(str(run.dtype), self.batch, parallel=True)
        start = writer.start("", step.states)
        self._states = {s: np.zeros((self.batch, self._sizes[step.dims[s]]), run.dtype) for s in step.states}
        for s, value in start.items():
            self._states[s][...] = value
        sources = writer.sources if step.sources else None
        longest = 0 if writer.sources is None else writer.sources.longest
        self._o = np.zeros((self.batch, net.features), run.dtype)
        self._alpha = np.zeros((self.batch, longest), run.dtype)
        extras = {name: self._alpha for name in step.extras}
        rows, prepared = program.rows, run.loops[""]
        program.loop(
            self._layer, self._sizes, prepared, {}, rows, (self._o, rows), self._states, sources=sources, extras=extras
        )
        program.finish()
        self._run = Run(program, np.zeros(program.nbytes, np.uint8))

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
