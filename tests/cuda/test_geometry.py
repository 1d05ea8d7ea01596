"""Layouts of launches: they fit, cover everything, and follow the sizes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore.cuda.geometry import Shape, _near, chosen, laid_out, step_seconds
from rnncore.cuda.shapes import THREADS
from rnncore.cuda.target import Properties
from rnncore.cuda.writer import padded

H200 = Properties("H200", (9, 0), 132, 227 * 1024, 1024, 140 * 2**30)
TINY = Properties("tiny", (8, 0), 3, 4096, 8, 2**30, 4)


def lstm(units, batch, item=4):
    return Shape((((units,), (units,) * 4),), ((), (0,)), batch, units, 0, item)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 300), st.integers(0, 5), st.sampled_from([4, 8]),
       st.sampled_from([H200, TINY]))  # fmt: skip
def test_every_layout_fits_and_covers_the_batch(units, batch, sums, item, device):
    shape = Shape((((units,), (units, units, 7)), ((units, 3), (units,))), ((), (0,), (1,)), batch, units, sums, item)
    try:
        found = chosen(shape, device)
    except ValueError:
        assert device is TINY
        return
    assert 1 <= found.blocks <= device.multiprocessors
    assert found.shared_bytes <= device.shared_bytes and found.threads <= device.threads
    assert 1 <= found.tile <= found.room and found.slices * found.room >= batch
    assert found.members <= units
    for k, (split, laned) in enumerate(zip(found.splits, found.tiling.laned)):
        assert 1 <= split <= units + 3
        assert not laned or split * device.warp <= found.threads, k


def test_a_block_has_registers_whatever_its_kernel_takes():
    """Each warp's by 256, of 64 Ki a block (CUDA C++ programming guide, compute capabilities): up to 255 a thread."""
    warps, each = THREADS // H200.warp, -(-255 * H200.warp // 256) * 256
    assert THREADS % H200.warp == 0 and warps * each <= 65536


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 300), st.sampled_from(["tf32", "bf16"]))
def test_tensor_cores_are_used_where_they_are_worth_it_alone(units, batch, kind):
    exact = lstm(units, batch)
    allowed = replace(exact, tensor=kind)
    found = chosen(allowed, H200)
    assert step_seconds(allowed, found) <= step_seconds(exact, chosen(exact, H200))
    assert found.tiling.tensor in ("", kind)


def test_batches_of_large_networks_are_multiplied_on_tensor_cores():
    for units, batch in ((512, 64), (1024, 16), (2048, 256)):
        assert chosen(replace(lstm(units, batch), tensor="bf16"), H200).tiling.tensor == "bf16"


def test_small_networks_take_one_block_a_slice_and_need_no_barrier():
    assert chosen(lstm(64, 32), H200).members == 1


@given(st.integers(1, 500), st.integers(1, 132))
def test_no_block_has_more_columns_than_room_is_made_for(units, members):
    own = [(m + 1) * units // members - m * units // members for m in range(members)]
    assert sum(own) == units and 4 * max(own) == lstm(units, 1).columns(0, members)


@pytest.mark.parametrize("units", [512, 1024])
def test_one_sequence_of_a_large_network_spreads_over_the_device_with_weights_that_stay_near(units):
    found = chosen(lstm(units, 1), H200)
    assert found.slices == 1 and found.members > 100 and found.tiling.resident == (True,)


def test_few_sums_are_shared_out_among_lanes_and_many_among_threads():
    assert chosen(lstm(1024, 1), H200).tiling.laned == (True,)
    assert chosen(lstm(64, 32), H200).tiling.laned == chosen(lstm(1024, 64), H200).tiling.laned == (False,)


def test_batches_of_large_networks_keep_their_weights_near_rather_than_read_them_at_every_step():
    for units, batch in ((512, 64), (1024, 16), (1024, 64)):
        found = chosen(lstm(units, batch), H200)
        assert found.tiling.resident == (True,) and found.blocks >= 128, found


def test_weights_that_do_not_fit_are_read_from_the_cache():
    found = chosen(lstm(4096, 1), H200)
    assert found.tiling.resident == (False,) and found.members > 100
    assert 0 < found.near[0] < 4096 and found.near[0] * padded(4 * 32) * 4 <= found.shared_bytes <= H200.shared_bytes


@given(st.lists(st.integers(1, 50), min_size=1, max_size=3), st.integers(0, 160), st.sampled_from([4, 16]))
def test_what_stays_near_of_an_operand_is_all_or_can_be_read_four_at_a_time(operands, most, step):
    for laned in (True, False):
        each = [padded(n) if laned else n for n in operands]
        near, at = _near(tuple(operands), most, step, laned), 0
        assert near <= most and near + step > min(most, sum(each))
        for n in each:
            here = min(max(near - at, 0), n)
            assert here == n or here % step == 0
            at += n


def test_a_forced_layout_that_cannot_fit_is_none():
    assert laid_out(Shape((((64,), (64,)),), ((0,),), 4, 64, 4000, 8), TINY, 1, 1) is None
