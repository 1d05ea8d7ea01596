"""Kernel texts for a GPU: the same in every process, with barriers where others' numbers are read and nowhere else."""

import re

import pytest
import stress

import rnncore as rn
from rnncore.cuda.emit import emit
from rnncore.cuda.writer import Tiling
from rnncore.plan.kernels import plan_of

WHICH = ("infer", "forward", "backward")


def kernel(layer, which, high=1, wide=1, resident=False, laned=False, pretty=False):
    plan = plan_of(layer.step, which)
    many = sum(map(len, plan.waves))
    return emit(plan, "float32", Tiling(high, wide, (resident,) * many, (laned,) * many), pretty)


def meetings(layer, which):
    """How often the blocks of a slice meet in a step."""
    return kernel(layer, which).text.count("arrive_and_wait(counters")


@pytest.mark.parametrize("name", stress.CELLS)
def test_a_kernel_is_python_whose_tables_have_no_name_twice(name):
    layer = stress.CELLS[name](stress.UNITS.get(name, 5))
    for which in WHICH:
        found = kernel(layer, which, 4, 4, True, True)
        compile(found.text, name, "exec")
        for table in (found.pointers, found.sizes):
            assert len(set(table)) == len(table)


@pytest.mark.parametrize("name", stress.CELLS)
def test_tables_do_not_depend_on_the_tiling(name):
    layer = stress.CELLS[name](stress.UNITS.get(name, 5))
    for which in WHICH:
        plain, other = kernel(layer, which), kernel(layer, which, 4, 4, True, True)
        assert (plain.vectors, plain.numbers, plain.dims) == (other.vectors, other.numbers, other.dims)
        assert [n.attrs for n in plain.constants] == [n.attrs for n in other.constants]


@pytest.mark.parametrize("layer, forward", [
    (rn.cells.vanilla(4), 1), (rn.cells.lstm(4), 1), (rn.cells.gru(4), 2), (rn.cells.gru(4, reset="after"), 1),
], ids=str)  # fmt: skip
def test_blocks_meet_once_a_step_for_each_product_that_needs_what_others_computed(layer, forward):
    assert meetings(layer, "infer") == meetings(layer, "forward") == forward


def test_cells_of_one_structure_share_one_text_which_holds_no_size():
    a, b = rn.cells.lstm(4), rn.cells.lstm(512)
    assert all(kernel(a, which).text == kernel(b, which).text for which in WHICH)


def test_a_text_to_be_read_has_the_author_s_names_and_lines():
    text = kernel(rn.cells.lstm(4), "infer", pretty=True).text
    assert re.search(r"o = sigmoid\(.*# lstm\.py:\d+", text)


def test_weights_that_stay_near_are_brought_there_once_and_the_others_read_where_they_are():
    near, far = (kernel(rn.cells.lstm(4), "infer", 4, 4, resident).text for resident in (True, False))
    assert "k + 0, shm, at_w" in near and "weights, at_w" not in near
    first, rest = far.index("k + 0, shm, at_w"), far.index("k + 0, weights, at_w")
    assert first < rest and "near = min(s_near_0 - from_0_0, end)" in far
    for text in (near, far):
        before, loop = text.split("while t < t1")
        assert "store(shm, held_0" in before and "store(shm, held_0" not in loop
