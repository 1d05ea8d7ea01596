"""A network one step at a time where its parameters are, its state kept there."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from .arguments import whole
from .backends import backend_of
from .bound import Bound
from .errors import InputError
from .execute import infer
from .forking import renewed
from .inputs import as_array, as_state
from .steps import check_steps

__all__ = ["DeviceStream"]


class DeviceStream:
    """`Stream` of parameters that are not on the CPU: each step is a call of one step.

    A copy goes on by itself from the same state; so does what comes back from a pickle, on the CPU, as parameters do.
    """

    def __init__(self, net, params, batch: int = 1, state=None, weights: str | None = None):
        check_steps(net, "stream")
        number = whole(batch, 1)
        if number is None:
            raise InputError(f"batch must be a positive integer, got {batch!r}")
        self.batch, self._run, self._backend = number, Bound(net, params, weights), backend_of(params.device)
        self._lock = renewed(threading.Lock())
        self.reset(state)

    def __copy__(self) -> DeviceStream:
        return DeviceStream(self._run.net, self._run.params, self.batch, self.state)

    def __deepcopy__(self, memo) -> DeviceStream:
        return self.__copy__()

    def __reduce__(self):
        with self._lock:
            now = None if self._state is None else {k: self._backend.get(v) for k, v in self._state.items()}
        return _gone_on, (self._run.net, self._run.params, self.batch, now)

    def __repr__(self) -> str:
        return f"<stream of {self._run.net!r}, batch {self.batch}, {self._run.dtype}, on {self._run.device}>"

    def reset(self, state=None) -> None:
        """Back to the initial state, or to a given one."""
        checked = as_state(self._run.net, self.batch, state, self._backend)
        with self._lock:
            self._state, self._shown = checked, self._backend.shown_as(state)

    @property
    def state(self) -> dict[str, Any] | None:
        """The state after the last step, the kind of array that the step took; None before the first."""
        with self._lock:
            state, shown = self._state, self._shown
        return None if state is None else {k: v.copy() if shown is None else shown(v) for k, v in state.items()}

    def step(self, x_t=None):
        """One step (see `Stream.step`); the output is the kind of array that `x_t` is."""
        run, net = self._run, self._run.net
        with self._lock:
            given = (None, [1] * self.batch) if net.inputs is None else (self._sequences(x_t), None)
            batch = net._batch(run.params, *given, self._state, steps=1 if net.counts_steps else None)
            y, self._state = infer(net, run.params, batch, run)
            self._shown = shown = self._backend.shown_as(x_t)
        y = y[:, 0] if net.per_step else y
        return y if shown is None else shown(y)

    def _sequences(self, x_t) -> Any:
        """What is given for one step as sequences of one step."""
        named = isinstance(x_t, Mapping)
        parts = {k: as_array(v, "x_t", backend=self._backend) for k, v in (x_t if named else {"": x_t}).items()}
        for part in parts.values():
            if part.ndim < 1 or len(part) != self.batch:
                raise InputError(f"a step of this stream needs {self.batch} sequences, got shape {part.shape}")
        if not self._run.net.reads_vectors:
            parts = {k: part[:, None] for k, part in parts.items()}
        return parts if named else parts[""]


def _gone_on(net, params, batch: int, state):
    """A stream where the parameters are."""
    return net.stream(params, batch, state)
