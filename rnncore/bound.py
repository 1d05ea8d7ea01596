"""A network with its parameters taken in once, for many calls."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .backends import backend_of
from .batch import is_tokens
from .cpu import bfloat16
from .cpu.stepping import Readout
from .errors import InputError
from .execute import called
from .params import Params

__all__ = ["Bound"]


class Bound:
    """A network with parameters packed once: called as ``net(params, ...)`` without the parameters.

    A snapshot: later changes of the parameters do not reach it. `weights` says how matrices are stored (see
    `Network.bind`); the others are as they were.
    """

    def __init__(self, net, params: Params, weights: str | None = None):
        net.check_params(params)
        if weights is not None and weights != bfloat16.NAME:
            raise InputError(f"weights must be None or {bfloat16.NAME!r}, got {weights!r}")
        if weights is not None and params.dtype != np.float32:
            raise InputError(f"weights={weights!r} stores matrices of float32 parameters, these are {params.dtype}")
        if weights is not None and params.device != "cpu":
            raise InputError(f"weights={weights!r} is for parameters on the CPU, these are on {params.device!r}")
        self.net, self.weights = net, weights
        self.params = params.copy()
        self.dtype, self.device, self.rounding = params.dtype, params.device, params.rounding
        if weights is not None and "readout.V" in self.params:
            self.params["readout.V"][:] = bfloat16.rounded(self.params["readout.V"])
        self.loops = {}
        prepare = backend_of(self.device, self.rounding).prepare
        for prefix, (layer, sizes) in net.loops.items():
            view = {p.name: self.params[prefix + p.name] for p in layer.step.params}
            self.loops[prefix] = prepare(layer, "infer", view, sizes, str(self.dtype), weights or "")
        self.tokens = is_tokens(net, "x") and bool(net.sizes)

    def __reduce__(self):
        return Bound, (self.net, self.params, self.weights)  # packed again: addresses are this process's own

    @cached_property
    def readout(self) -> Readout:
        """The readout, packed."""
        return Readout.of(self.params["readout.V"], self.params["readout.c"], self.weights is not None)

    @cached_property
    def _calls(self):
        from .whole import Calls  # it stands above a bound network

        return Calls(self)

    def __call__(
        self, x=None, *, lengths=None, state=None, seed: int | None = None, target=None, teacher_forcing=None,
        mask=None, reset=None, steps: int | None = None, target_lengths=None,
    ):  # fmt: skip
        """Outputs and final state, as of the network (see `Network.__call__`)."""
        given = {"mask": mask, "reset": reset, "steps": steps, "target_lengths": target_lengths}
        calls = self._calls
        plain = calls.fit and all(value is None for value in (seed, target, teacher_forcing, *given.values()))
        ready = plain and state is None and calls.takes(x)
        found = calls.plain(x, lengths) if ready else None
        if found is not None:
            return found
        batch = self.net._batch(self.params, x, lengths, state, target, teacher_forcing, seed, **given)
        found = calls.laid(batch) if plain and not ready else None
        if found is not None:
            return found
        return called(self.net, self.params, batch, self, seed)

    @cached_property
    def voice(self):
        """The loop that generates, packed."""
        from .speaker import Voice  # it stands above a bound network

        return Voice.of(self.net, self.params, self.weights)

    def generate(
        self, x=None, *, steps: int, end: int | None = None, temperature: float | None = None,
        top_k: int | None = None, top_p: float | None = None, seed: int | None = None, beam: int | None = None,
        length_penalty: float = 0.6, lengths=None, state=None, mask=None, reset=None,
    ):  # fmt: skip
        """Let the network write, as `rnncore.generate` does, whose arguments, result and errors these are.

        Examples
        --------
        >>> import rnncore as rn
        >>> net = rn.Network(rn.cells.gru(16), inputs=rn.Tokens(5), outputs=5)
        >>> run = net.bind(net.init(seed=0))
        >>> run.generate([[0, 3], [1, 2]], steps=7).tokens.shape
        (2, 7)
        """
        from .generation import Choice, written
        from .speaker import Speaker

        choice = Choice.checked(steps, end, temperature, top_k, top_p, seed, beam, length_penalty)
        speaker = Speaker(self.net, self.params, x, lengths, state, choice.steps, mask, reset, self)
        return written(speaker, choice)

    def __repr__(self) -> str:
        return f"<{self.net!r} bound to {self.params.flat.size} {self.dtype} numbers>"
