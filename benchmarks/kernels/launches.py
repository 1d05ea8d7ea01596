"""The launches of a training step on a device that is not there: texts of kernels, tables, layouts.

The engine itself prepares them, over host arrays that stand in for the device's; only the launch is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["Recorded", "launches"]

STEPS = 4


@dataclass(frozen=True)
class Recorded:
    """A launch that was not made."""

    text: str
    blocks: int
    threads: int
    shared_bytes: int
    numbers: np.ndarray
    chunk: int

    def number(self, name: str) -> int:
        """What the kernel reads under a name from the head of its table."""
        found = re.search(rf"^    {name} = (?:uniform\()?numbers\[(\d+)\]\)?$", self.text, re.MULTILINE)
        return int(self.numbers[int(found[1])])

    @property
    def resident(self) -> bool:
        """Whether all weights of the loop stay in shared memory."""
        return not re.search(r"\bs_near_\d+\b|, weights, at_pack\d", self.text)


def launches(net: Any, batch: int, device: Any, products: str = "", what: str = "train") -> dict[str, Recorded]:
    """What a layer's ``forward`` and ``backward`` would launch on a device of those properties, or its ``infer``.

    Parameters
    ----------
    net : rnncore.Network
        Of one layer.
    batch : int
    device : rnncore.cuda.target.Properties
    products : {"", "tf32", "bf16"}
        See `rnncore.Params.to`.
    what : {"train", "infer"}
    """
    with np.errstate(all="ignore"), _recorder(device) as seen:
        from rnncore.cuda import standin
        from rnncore.cuda.backend import loop_backward, loop_forward, prepare
        from rnncore.layout import Rows, layout_of
        from rnncore.rounding import Rounding

        ((layer, sizes),) = net.loops.values()
        step, dtype = layer.step, "float32"
        layout = layout_of(np.full(batch, STEPS, np.int64), False)  # with nothing kept of another device
        rows = Rows(np.arange(batch) * STEPS, 1)

        def zeros(*shape):
            return standin.asarray(np.zeros(shape, dtype))

        params = {p.name: zeros(*net.shapes[p.name]) for p in step.params}
        xs = {name: zeros(batch * STEPS, sizes[step.dims[name]]) for name in step.inputs}
        y = zeros(batch * STEPS, sizes[step.output.shape[0]])
        state = {s: zeros(batch, sizes[step.dims[s]]) for s in step.states}
        training = what == "train"
        forward = prepare(layer, "forward" if training else "infer", params, sizes, dtype, rounding=Rounding(products))
        _, tape = loop_forward(layer, sizes, forward, layout, xs, rows, state, (y, 0, rows), training, False)
        if training:
            grads = {name: zeros(*p.shape) for name, p in params.items()}
            loop_backward(tape, params, (y, 0), {}, tuple(step.inputs), grads)
    return dict(zip(("forward", "backward") if training else ("infer",), seen, strict=True))


@contextmanager
def _recorder(device: Any) -> Iterator[list[Recorded]]:
    """Whatever is launched inside is only written down, the first launch of each kernel; nothing is computed."""
    from rnncore.cuda import standin_blas, target

    seen: dict[str, Recorded] = {}

    def load(text: str) -> Any:
        def launch(blocks, threads, shared_bytes, arrays, cooperative, stream=None) -> None:
            seen.setdefault(text, Recorded(text, blocks, threads, shared_bytes, arrays[3].host.copy(), arrays[5]))

        return SimpleNamespace(launch=launch)

    before = target.simulated, target.properties, target.load, standin_blas.gemmEx
    try:
        target.simulated = True  # arrays of the host stand in for the device's
        target.properties, target.load, standin_blas.gemmEx = lambda: device, load, lambda *given: None
        yield (found := [])
        found += seen.values()
    finally:
        target.simulated, target.properties, target.load, standin_blas.gemmEx = before
