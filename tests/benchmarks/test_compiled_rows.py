"""Kernels of the benchmark's rows, compiled and linked for both devices of its model: nothing of them is spilled.

Of all rows' training kernels these are the longest of every cell and of every tiling, which need the most registers;
``python -m benchmarks.gpu --model 1`` compiles the float32 kernels of every row.
"""

from types import SimpleNamespace

import pytest

from rnncore.cuda import target

if target.missing_to_compile():
    pytest.skip(str(target.missing_to_compile()), allow_module_level=True)

from benchmarks import gpu
from rnncore.cuda.geometry import chosen
from rnncore.cuda.launch import shape_of
from rnncore.cuda.weights import code_of


def kernels():
    """(device, cell, pass, tiling, text) of every row, in every precision."""
    for cell in gpu.CELLS:
        for units in gpu.UNITS:
            ((layer, sizes),) = gpu.network(cell, units).loops.values()
            for which in ("forward", "backward"):
                code = code_of(layer.step, which, "float32")
                for batch in gpu.BATCHES:
                    for products in ("", "tf32", "bf16"):
                        shape = shape_of(code, sizes, SimpleNamespace(batch=batch), products)
                        for device in gpu.MODELLED:
                            tiling = chosen(shape, device.properties()).tiling
                            yield device, cell, which, tiling, code.kernel(tiling).text


def longest():
    """The longest texts of each device, by what they are."""
    found = {}
    for device, cell, which, tiling, text in kernels():
        form = which, tiling.rows, tiling.columns, tiling.tensor, tiling.laned
        for key in ((device.name, cell, which), (device.name, *form)):
            if len(text) > len(found.get(key, "")):
                found[key] = text
    names = {(key[0], text): " ".join(map(str, key)) for key, text in found.items()}
    capability = {device.name: device.capability for device in gpu.MODELLED}
    return [pytest.param(text, capability[device], id=name) for (device, text), name in names.items()]


@pytest.mark.parametrize("text, capability", longest())
def test_nothing_is_spilled(text, capability):
    found = target.compiled(text, capability)
    assert found.spill_stores == found.spill_loads == found.stack_bytes == found.float64_instructions == 0
