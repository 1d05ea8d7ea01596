"""A decoder one step at a time: the source is read once, then each step writes one output."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

import numpy as np

from .bound import Bound
from .cpu.layout import Rows
from .errors import InputError
from .inputs import as_array
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

    Attributes
    ----------
    alpha : ndarray (batch, time) or None
        Weights with which the last step attended; None before the first, and where the decoder does not attend.
    """

    def __init__(self, net, params, x, lengths=None, state=None):
        run = Bound(net, params)
        batch = net._batch(run.params, x, lengths, state, steps=1)
        pass_ = Pass(net, run.params, batch, False, None, run)
        self._writer, _, _ = encode(pass_, net.block, "", batch.arrays, Rows(batch.base, 1), net.fed)
        self._net, self._lock, self._time = net, threading.Lock(), batch.time
        self._layer, self._sizes = net.loops[""]
        self._state = dict(self._writer.batch.state or {})
        self.batch = batch.size
        self.alpha: np.ndarray | None = None

    @property
    def state(self) -> dict[str, np.ndarray]:
        """The decoder's states after the last step, those that the encoder handed over before the first."""
        return {k: v.copy() for k, v in self._state.items()}

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
            writer, rows = copy.copy(self._writer), Rows(np.arange(self.batch, dtype=np.int64), 1)
            start = self._state if given is None else {**self._state, self._layer.fed_back: given}
            writer.batch, writer.final = replace(writer.batch, state=start), {}
            o = np.zeros((self.batch, self._net.features), writer.dtype)
            longest = writer.sources.longest
            alpha = np.zeros((self.batch, longest), writer.dtype)
            writer.extras = {name: alpha for name in self._layer.step.extras}
            writer.run(self._net.block.decoder, "", {}, rows, self._net.fed, (o, 0, rows), False)
            self._state = writer.final
            if writer.extras:
                self.alpha = np.pad(alpha, ((0, 0), (0, self._time - longest)))
        return o

    def _read(self, y) -> np.ndarray:
        size = self._sizes[self._layer.step.dims[self._layer.fed_back]]
        array = as_array(y, "y")
        if array.shape == (self.batch,) and array.dtype.kind in "iu":
            if array.size and not 0 <= array.min() <= array.max() < size:
                raise InputError(f"classes must lie in 0..{size - 1}, got {array.min()} to {array.max()}")
            return np.eye(size, dtype=self._writer.dtype)[array]
        if array.shape != (self.batch, size) or array.dtype.kind not in "fiub":
            want = f"({self.batch},) of classes or ({self.batch}, {size})"
            raise InputError(f"y must have shape {want}, got {array.dtype} of shape {array.shape}")
        return array.astype(self._writer.dtype)
