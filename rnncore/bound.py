"""A network with its parameters taken in once: for many calls, and for one step at a time."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from .arguments import whole
from .combine.blocks import reads_backward
from .cpu.run import prepare
from .errors import InputError
from .execute import infer
from .inputs import Batch, as_state
from .params import Params

__all__ = ["Bound", "Stream"]


class Bound:
    """A network with parameters packed once: called as ``net(params, ...)`` without the parameters.

    A snapshot: later changes of the parameters do not reach it.
    """

    def __init__(self, net, params: Params):
        net.check_params(params)
        self.net = net
        self.params = params.copy()
        self.dtype = params.dtype
        self.loops = {}
        for prefix, (layer, sizes) in net.loops.items():
            view = {p.name: self.params[prefix + p.name] for p in layer.step.params}
            self.loops[prefix] = prepare(layer, "infer", view, sizes, str(self.dtype))

    def __call__(
        self, x=None, *, lengths=None, state=None, seed: int | None = None, target=None, teacher_forcing=None,
        mask=None, reset=None, steps: int | None = None, target_lengths=None,
    ):  # fmt: skip
        """Outputs and final state, as of the network (see `Network.__call__`)."""
        given = {"mask": mask, "reset": reset, "steps": steps, "target_lengths": target_lengths}
        batch = self.net._batch(self.params, x, lengths, state, target, teacher_forcing, seed, **given)
        return infer(self.net, self.params, batch, self, seed)

    def __repr__(self) -> str:
        return f"<{self.net!r} bound to {self.params.flat.size} {self.dtype} numbers>"


class Stream:
    """One step at a time, the state kept inside. A snapshot of the parameters; safe from several threads.

    Parameters
    ----------
    net : Network
        Without a block that reads backward in time.
    params : Params
    batch : int
    state : mapping of str to (batch, size), optional
    """

    def __init__(self, net, params: Params, batch: int = 1, state=None):
        if reads_backward(net.block):
            raise InputError("a network that reads backward in time cannot stream: it needs the sequence's end first")
        if net.mode == "one-to-many":
            raise InputError("a one-to-many network cannot stream: its vector comes once, call it with steps=")
        if whole(batch, 1) is None:
            raise InputError(f"batch must be a positive integer, got {batch!r}")
        self._run = Bound(net, params)
        self.batch = int(batch)
        self._lock = threading.Lock()
        self.reset(state)

    def reset(self, state=None) -> None:
        """Back to the initial state, or to a given one."""
        probe = Batch({}, np.zeros(self.batch, np.int64), np.zeros(self.batch, np.int64), 0, "padded", True)
        self._state = as_state(self._run.net, probe, state)

    @property
    def state(self) -> dict[str, np.ndarray] | None:
        """The state after the last step; None before the first."""
        return None if self._state is None else {k: v.copy() for k, v in self._state.items()}

    def step(self, x_t=None):
        """One step.

        Parameters
        ----------
        x_t : array_like, (batch, features), or (batch,) tokens, or a mapping of inputs; None where there are none

        Returns
        -------
        y_t : ndarray, (batch, features)
        """
        net = self._run.net
        if net.inputs is None:
            return self._autonomous(x_t)
        steps = {k: np.asarray(v) for k, v in (x_t if isinstance(x_t, Mapping) else {"": x_t}).items()}
        for step in steps.values():
            if step.ndim < 1 or len(step) != self.batch:
                raise InputError(f"a step of this stream needs {self.batch} sequences, got shape {step.shape}")
        x = {k: step if net.reads_vectors else step[:, None] for k, step in steps.items()}
        with self._lock:
            y, self._state = self._run(x if isinstance(x_t, Mapping) else x[""], state=self._state)
        return y[:, 0] if net.per_step else y

    def _autonomous(self, x_t):
        with self._lock:
            whole = np.ones(self.batch, np.int64)
            y, self._state = self._run(x_t, lengths=whole, steps=1, state=self._state)
        return y[:, 0] if self._run.net.per_step else y
