"""What texts import on a device is what they import in the simulator; and its functions are exact at the limits."""

import ast
from pathlib import Path

import numpy as np
import pytest

import rnncore.cuda
from rnncore.cuda import twins
from rnncore.lang.ops import OPS

RENAMED = {"and": "and_", "or": "or_", "not": "not_", "abs": "abs_"}
POINTWISE = [name for name, row in OPS.items() if row.pointwise and name not in ("stop", "spread", "eye")]


def listed(name):
    """``__all__`` of a module that is not imported: the device's needs numba-cuda."""
    tree = ast.parse((Path(rnncore.cuda.__file__).parent / f"{name}.py").read_text())
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    (found,) = [node.value for node in assigned if getattr(node.targets[0], "id", "") == "__all__"]
    return set(ast.literal_eval(found))


def test_twins_have_the_names_of_the_device():
    assert listed("twins") == listed("device")
    assert listed("tile_twins") == listed("tiles") | listed("fragments")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", POINTWISE)
def test_every_pointwise_op_gives_what_the_language_says(name, dtype):
    row, given = OPS[name], np.array([0.0, 1.5, -2.0, 40.0, -40.0, 200.0, np.inf, -np.inf, np.nan], dtype)
    op = getattr(twins.functions(dtype), RENAMED.get(name, name))
    grids = [given > 0] * row.conditions + [given] * (row.arity - row.conditions)
    columns = [grid.ravel() for grid in np.meshgrid(*grids)]
    with np.errstate(all="ignore"):
        want = row.numpy(*columns)
        got = np.array([op(*numbers) for numbers in zip(*columns)])
    assert got.dtype == (bool if row.boolean else dtype)
    np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).smallest_subnormal)
