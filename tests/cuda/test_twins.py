"""What texts import on a device is what they import in the simulator; and its functions are exact at the limits."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=200)
@given(st.integers(1, 46340), st.integers(0, 2**31 - 1), st.data())
def test_parts_of_a_number_begin_where_the_quotient_says(parts, n, data):
    k = data.draw(st.integers(0, parts))
    assert twins.portion(k, n, parts) == k * n // parts


@pytest.mark.parametrize("a, b", [(-1, 3), (2**31, 3), (3, 0), (3, 2**31)])
def test_quotients_of_numbers_that_a_device_does_not_divide_are_errors(a, b):
    with pytest.raises(OverflowError, match="31 bits"):
        twins.quotient(a, b)


@pytest.mark.parametrize("value", [-1, 2**31])
def test_numbers_that_a_warp_cannot_tell_its_lanes_are_errors(value):
    assert twins.uniform(2**31 - 1) == 2**31 - 1
    with pytest.raises(OverflowError, match="31 bits"):
        twins.uniform(value)


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
