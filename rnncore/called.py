"""The part of a network that every call begins with: what is given, checked and laid out."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from .backends import backend_of
from .description import Description
from .errors import InputError
from .inputs import Batch, as_state
from .params import Params
from .segments import segments_of
from .vectors import batch_of, bridge
from .writing import set_writing, writes

__all__ = ["Called"]


class Called(Description):
    """A network with what its calls have in common (see `Network`)."""

    @cached_property
    def _programs(self) -> dict[np.dtype, Any]:
        return {}

    def trainings(self, dtype: np.dtype):
        """The programs of training steps with parameters of a dtype (see `rnncore.whole_training.Trainings`)."""
        found = self._programs.get(dtype)
        if found is None:
            from .whole_training import Trainings

            found = self._programs.setdefault(dtype, Trainings(self, dtype))
        return found

    def _batch(
        self, params: Params, x, lengths, state, target=None, teacher_forcing=None, seed=None, *, mask=None, reset=None,
        steps=None, target_lengths=None,
    ) -> Batch:  # fmt: skip
        self.check_params(params)
        backend = None if params.device == "cpu" else backend_of(params.device)
        batch = batch_of(self, params.dtype, x, lengths, None if writes(self) else steps, state, backend)
        if backend is not None:
            batch.shown = backend.shown_as(x if x is not None else state)
        batch.state = as_state(self, batch.size, state, backend)
        batch.segments = segments_of(batch, mask, reset)
        set_writing(self, batch, target, target_lengths, steps)
        if teacher_forcing is None and target is not None and writes(self):
            teacher_forcing = "always"
        if self.feed == "state":
            batch.state = bridge(self, params, batch)
        if teacher_forcing is not None:
            from .teaching import lesson_of  # it stands above the network

            batch.lesson = lesson_of(self, batch, target, teacher_forcing, seed, params.dtype)
        return batch

    def as_padded(self, x, lengths=None, steps=None, state=None) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Checked inputs as float arrays (batch, time, features) by name, tokens one-hot; and the lengths."""
        batch = batch_of(self, None, x, lengths, steps, state)
        return batch.padded(self), batch.lengths

    def check_params(self, params) -> None:
        """Raise `InputError` unless `params` have this network's layout."""
        if not isinstance(params, Params):
            raise InputError(f"params must be rn.Params, as net.init gives them, got {type(params).__name__}")
        if params._shapes is self.shapes or params._shapes == self.shapes:
            return
        for path, shape in self.shapes.items():
            if path not in params:
                raise InputError(f"params lack {path!r}, which this network needs with shape {shape}")
            if params[path].shape != shape:
                raise InputError(f"parameter {path!r} has shape {params[path].shape}, this network needs {shape}")
        extra = [p for p in params if p not in self.shapes]
        raise InputError(f"params have {extra or 'their entries in another order'}, which this network does not know")
