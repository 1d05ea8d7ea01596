"""A network one step at a time from Python, its state kept inside."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from .arguments import whole
from .bound import Bound
from .cpu.memory import address_of
from .cpu.stepping import Run
from .errors import InputError
from .forking import renewed
from .steps import Steps, check_steps

__all__ = ["Stream"]


class Stream:
    """One step at a time, the state kept inside. A snapshot of the parameters; safe from several threads.

    A copy, and what comes back from a pickle, goes on by itself from the same state.

    Parameters
    ----------
    net : Network
        Without a block that reads backward in time.
    params : Params
    batch : int
    state : mapping of str to (batch, size), optional
    weights : {"bfloat16"}, optional
        How matrices are stored (see `Network.bind`).

    Examples
    --------
    >>> import numpy as np, rnncore as rn
    >>> net = rn.Network(rn.cells.gru(5), inputs=3)
    >>> stream = net.stream(net.init(seed=0), batch=2)
    >>> stream.step(np.ones((2, 3))).shape, stream.state["h"].shape
    ((2, 5), (2, 5))
    """

    def __init__(self, net, params, batch: int = 1, state=None, weights: str | None = None):
        check_steps(net, "stream")
        number = whole(batch, 1)
        if number is None:
            raise InputError(f"batch must be a positive integer, got {batch!r}")
        self.batch = number
        self._steps = steps = Steps(Bound(net, params, weights), number, parallel=True)
        self._lock = renewed(threading.Lock())
        self._memory = np.zeros(steps.size, steps.dtype)
        self._x = np.zeros((number, steps.columns), steps.x_dtype)
        self._y = np.zeros((number, steps.features), steps.dtype)
        self._run = Run(steps.program, self._memory, self._x, self._y)
        self._go = self._run.go
        self._parts = steps.parts(self._x)
        self._single = self._x if len(self._parts) == 1 and not steps.tokens else None
        self._wide = np.zeros(self._x.shape)
        self._narrow = steps.runner.narrow
        self._wide_to_x = address_of(self._wide), address_of(self._x), self._x.size
        self.reset(state)

    def __reduce__(self):
        run = self._steps.run
        with self._lock:
            now = None if self._fresh else {k: v.copy() for k, v in self._steps.states(self._memory).items()}
            return _gone_on, (run.net, run.params, self.batch, self._begun, run.weights, now)

    def __repr__(self) -> str:
        return f"<stream of {self._steps.net!r}, batch {self.batch}, {self._steps.dtype}>"

    def reset(self, state=None) -> None:
        """Back to the initial state, or to a given one."""
        given = self._steps.checked(state)
        with self._lock:
            self._steps.begin(self._memory, given)
            self._begun = None if given is None else {k: v.copy() for k, v in given.items()}
            self._fresh = True

    @property
    def state(self) -> dict[str, np.ndarray] | None:
        """The state after the last step; None before the first."""
        with self._lock:
            now = self._begun if self._fresh else self._steps.states(self._memory)
            return None if now is None else {k: v.copy() for k, v in now.items()}

    def step(self, x_t=None):
        """One step.

        Parameters
        ----------
        x_t : array_like, (batch, features), or (batch,) tokens, or a mapping of inputs; None where there are none

        Returns
        -------
        y_t : ndarray, (batch, features)
        """
        with self._lock:
            x = self._single
            if x is None or type(x_t) is not np.ndarray or x_t.shape != x.shape or x_t.dtype != x.dtype:
                self._take(x_t)
            else:
                x[...] = x_t
            if self._go():
                self._read(x_t)
            self._fresh = False
            return self._y.copy()

    def _take(self, x_t) -> None:
        """Put x_t in its place, by the shortest way that needs no further check."""
        x = self._single
        if type(x_t) is dict and x_t.keys() == self._parts.keys():
            for name, part in self._parts.items():
                given = x_t[name]
                if type(given) is not np.ndarray or given.shape != part.shape or given.dtype != part.dtype:
                    return self._read(x_t)
                part[...] = given
        elif type(x_t) is not np.ndarray:
            self._read(x_t)
        elif self._steps.tokens and x_t.shape == (self.batch,) and x_t.dtype.kind in "iu":
            self._x[:, 0] = x_t
        elif x is not None and x_t.shape == x.shape and x_t.dtype == np.float64:
            self._wide[...] = x_t
            self._narrow(*self._wide_to_x)
        else:
            self._read(x_t)

    def _read(self, x_t) -> None:
        """Check whatever was given for x_t and put it in its place."""
        net, run = self._steps.net, self._steps.run
        if net.inputs is None:
            net._batch(run.params, x_t, np.ones(self.batch, np.int64), None, steps=1)
            return
        named = isinstance(x_t, Mapping)
        steps = {k: np.asarray(v) for k, v in (x_t if named else {"": x_t}).items()}
        for name, step in steps.items():
            size = net.sizes.get(name or next(iter(net.sizes)))  # None: an unknown name, of which a call tells
            want = (self.batch,) if self._steps.tokens else (self.batch, size)
            if size is not None and step.shape != want:
                raise InputError(f"{name or 'x'} of a step of this stream must have shape {want}, got {step.shape}")
        x = {k: step if net.reads_vectors else step[:, None] for k, step in steps.items()}
        checked = net._batch(run.params, x if named else x[""], None, None)
        for name, rows in checked.arrays.items():
            self._parts[name][...] = rows


def _gone_on(net, params, batch: int, begun, weights: str | None, now) -> Stream:
    """A stream that started at `begun` and is at `now`; None: before its first step."""
    stream = Stream(net, params, batch, begun, weights)
    if now is not None:
        stream._steps.begin(stream._memory, now)
        stream._fresh = False
    return stream
