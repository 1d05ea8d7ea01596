"""Kernels of the benchmark's rows, compiled and linked for both devices of its model: nothing of them is spilled.

Of all rows' training kernels these are the longest of every cell and of every kind of tiling, which need the most
registers; ``python -m benchmarks.gpu --model 1 --shapes every`` compiles the kernels of every row.
"""

from itertools import product
from types import SimpleNamespace

import pytest

from rnncore.cuda import target

if target.missing_to_compile():
    pytest.skip(str(target.missing_to_compile()), allow_module_level=True)

from benchmarks.devices import DEVICES
from benchmarks.gpu_rows import CELLS, EVERY, PRECISIONS, network
from rnncore.cuda.geometry import chosen
from rnncore.cuda.launch import shape_of
from rnncore.cuda.weights import code_of

MODELLED = [device for device in DEVICES if device.name in ("H200", "A100")]


def kernels():
    """(device, cell, pass, tiling, text) of every row, in every precision."""
    sizes_of_rows = sorted({(units, batch) for batch, _, _, units in EVERY})
    for cell, (units, batch), which in product(CELLS, sizes_of_rows, ("forward", "backward")):
        ((layer, sizes),) = network(cell, units).loops.values()
        code = code_of(layer.step, which, "float32")
        for precision, device in product(PRECISIONS, MODELLED):
            products = "" if precision == "float32" else precision
            shape = shape_of(code, sizes, SimpleNamespace(batch=batch), products)
            tiling = chosen(shape, device.properties()).tiling
            yield device, cell, which, tiling, code.kernel(tiling).text


def longest():
    """The longest texts of each device, by what they are."""
    found = {}
    for device, cell, which, tiling, text in kernels():
        form = tiling.rows, tiling.tensor, all(tiling.resident), all(tiling.laned)
        for key in ((device.name, cell, which), (device.name, *form)):
            if len(text) > len(found.get(key, "")):
                found[key] = text
    names = {(key[0], text): " ".join(map(str, key)) for key, text in found.items()}
    capability = {device.name: device.capability for device in MODELLED}
    return [pytest.param(text, capability[device], id=name) for (device, text), name in names.items()]


@pytest.mark.parametrize("text, capability", longest())
def test_nothing_is_spilled(text, capability):
    found = target.compiled(text, capability)
    assert found.spill_stores == found.spill_loads == found.stack_bytes == found.float64_instructions == 0
