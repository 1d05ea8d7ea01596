"""Benchmarks of cells for asv, to be subclassed in a package's own folder of benchmarks."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..network import Network
from ..registry import current

__all__ = ["Speed"]


class Speed(ABC):
    """How fast cells are: a class of benchmarks for `asv <https://asv.readthedocs.io>`_.

    A subclass names cells; asv then times each of them at each shape, over the commits. What is tracked, how many times
    as fast as another cell that is called in turns, hardly changes with whatever else the machine does.

    Attributes
    ----------
    cells : list of str
        Registered names.
    shapes : list of (batch, time, inputs, units)
    baseline : str
        The cell that others are held against; by default the one of ``rnncore train``.
    dtype : {"float32", "float64"}

    Raises
    ------
    InputError
        Where a subclass is defined, if its cells are no list or a shape is not of four numbers.

    Examples
    --------
    >>> from rnncore.testing import Speed
    >>> class Cells(Speed):
    ...     cells = ["vanilla", "lstm"]
    ...     shapes = [(2, 10, 3, 8)]
    >>> Cells.params
    (['vanilla', 'lstm'], [(2, 10, 3, 8)])
    >>> run = Cells()
    >>> run.setup("lstm", (2, 10, 3, 8))
    >>> run.time_training_step("lstm", (2, 10, 3, 8))
    """

    shapes: ClassVar[list[tuple[int, int, int, int]]] = [(1, 100, 32, 32), (32, 100, 64, 64), (32, 100, 128, 128)]
    baseline: ClassVar[str | None] = None
    dtype: ClassVar[str] = "float32"
    param_names = ("cell", "batch, time, inputs, units")
    params: ClassVar[tuple[list, list]] = ([], [])
    version = "1"

    @property
    @abstractmethod
    def cells(self) -> list[str]:
        """Registered names; a subclass sets them."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if isinstance(cls.cells, property):
            return  # asv leaves out what is abstract
        if not isinstance(cls.cells, (list, tuple)):
            raise InputError(f"{cls.__name__}.cells: expected a list of names, got {cls.cells!r}")
        for shape in cls.shapes:
            if np.shape(shape) != (4,):
                raise InputError(f"{cls.__name__}.shapes: expected (batch, time, inputs, units), got {shape!r}")
        cls.params = (list(cls.cells), list(cls.shapes))

    def layer(self, cell: str, units: int) -> Any:
        """What is timed of a cell; a subclass may choose options, or put it into a topology."""
        return current().get("cell", cell)(units)

    def setup(self, cell: str, shape: tuple[int, int, int, int]) -> None:
        """Compile what is timed."""
        usual = self.baseline or current().defaults("command")["cell"]
        self.inference, self.training = _calls(self.layer(cell, shape[3]), shape, self.dtype)
        self.other = _calls(current().get("cell", usual)(shape[3]), shape, self.dtype)[1]
        for function in (self.inference, self.training, self.other):
            function()

    def time_inference(self, cell: str, shape: tuple[int, int, int, int]) -> None:
        """A prediction, with weights packed before."""
        self.inference()

    def time_training_step(self, cell: str, shape: tuple[int, int, int, int]) -> None:
        """Forward, back, and the gradient of every parameter."""
        self.training()

    def track_ratio_to_baseline(self, cell: str, shape: tuple[int, int, int, int]) -> float:
        """How many times as fast a training step is as that of the baseline."""
        ratios: list[float] = []
        until = time.perf_counter() + 0.5
        while len(ratios) < 5 or time.perf_counter() < until:
            ratios.append(_seconds(self.other) / _seconds(self.training))
        return float(np.median(ratios))

    track_ratio_to_baseline.unit = "times as fast"  # type: ignore[attr-defined]


def _calls(layer: Any, shape: tuple[int, int, int, int], dtype: str) -> tuple[Callable, Callable]:
    """A prediction and a training step."""
    batch, steps, inputs, _ = shape
    net = Network(layer, inputs=inputs)
    params, rng = net.init(seed=0, dtype=dtype), np.random.default_rng(0)
    x = rng.standard_normal((batch, steps, inputs)).astype(dtype)
    run = net.bind(params)
    dy = rng.standard_normal(run(x)[0].shape).astype(dtype)

    def train():
        _, _, tape = net.forward(params, x)
        net.backward(params, tape, dy)
        tape.release()

    return lambda: run(x), train


def _seconds(function: Callable) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
