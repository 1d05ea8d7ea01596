"""The interpreter of PTX: memory and its limits, threads that part and meet, blocks that wait, races."""

import numpy as np
import pytest
from ptx.grid import WaitError
from ptx.memory import AccessError
from ptx.races import Race
from ptx.written import run

PLACE = """
mov.u32 %r1, %tid.x;
mov.u32 %r2, %ctaid.x;
cvt.u64.u32 %rd1, %r1;
shl.b64 %rd2, %rd1, 2;
ld.param.u64 %rd3, [kernel_param_0];
add.s64 %rd4, %rd3, %rd2;
mov.u64 %rd5, shared_memory;
add.s64 %rd6, %rd5, %rd2;
"""  # rd4: the thread's word of the first array, rd6: of shared memory


def test_vectors_are_loaded_and_stored_at_once():
    array = np.arange(8, dtype=np.float32)
    run("ld.param.u64 %rd1, [kernel_param_0];\nld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1+16];\n"
        "st.global.v2.f32 [%rd1], {%f4, %f2};", [array], watch=False)  # fmt: skip
    assert array.tolist() == [7, 5, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("body, words", [
    ("ld.global.f32 %f1, [%rd4+4];", r"block 0 thread 31 at .*, 4 bytes, global: ld\.global\.f32"),
    ("ld.global.f32 %f1, [%rd4+-4];", "block 0 thread 0 at"),
    ("ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd4];", "block 0 thread 1 at .*, 16 bytes"),
    ("st.global.f32 [%rd2], 0f00000000;", "thread 0 at 0x0"),
    ("ld.global.u64 %rd9, [%rd4];", "thread 1 at .*, 8 bytes"),
    ("ld.shared.f32 %f1, [%rd6];", "thread 16 at .*, shared"), ("ld.shared.f32 %f1, [%rd5+-4];", "thread 0 at"),
    ("mov.u64 %rd7, depot;\nld.local.u64 %rd8, [%rd7+16];", "thread 0 at .*, local"),
])  # fmt: skip
def test_accesses_outside_and_in_between_are_errors(body, words):
    with pytest.raises(AccessError, match=words):
        run(PLACE + body, [np.zeros(32, np.float32), np.zeros(32, np.float32)], shared_bytes=64)


def test_memory_of_a_block_and_of_a_thread_is_its_own_and_holds_nothing():
    array = np.zeros(128, np.float32)
    body = """
mad.lo.s32 %r3, %r2, 32, %r1;
mul.wide.u32 %rd7, %r3, 4;
add.s64 %rd4, %rd3, %rd7;
setp.eq.s32 %p1, %r2, 0;
mov.u64 %rd8, depot;
ld.local.f32 %f1, [%rd8+8];
@%p1 bra $END;
cvt.rn.f32.u32 %f1, %r3;
st.local.f32 [%rd8+8], %f1;
st.shared.f32 [%rd6], %f1;
ld.local.f32 %f1, [%rd8+8];
$END:
ld.shared.f32 %f2, [%rd6];
add.f32 %f1, %f1, %f2;
st.global.f32 [%rd4], %f1;
"""
    run(PLACE + body, [array], blocks=2, shared_bytes=128)
    assert np.isnan(array[:32]).all() and array[32:64].tolist() == [2.0 * k for k in range(32, 64)]


def test_threads_part_and_come_together_again():
    """Each thread adds up to its own number; behind the loop all of a warp are there for an exchange."""
    array = np.zeros(64, np.int32)
    body = """
mov.u32 %r3, 0;
mov.u32 %r4, 0;
$LOOP:
setp.ge.u32 %p1, %r4, %r1;
@%p1 bra $OUT;
add.s32 %r4, %r4, 1;
add.s32 %r3, %r3, %r4;
bra.uni $LOOP;
$OUT:
shfl.sync.bfly.b32 %r5, %r3, 1, 0x1f, 0xffffffff;
shfl.sync.idx.b32 %r6, %r3, 3, 0x1f, 0xffffffff;
add.s32 %r5, %r5, %r6;
st.global.u32 [%rd4], %r5;
"""
    run(PLACE + body, [array], threads=64)
    sums = np.arange(64) * (np.arange(64) + 1) // 2
    assert array.tolist() == (sums[np.arange(64) ^ 1] + sums[np.arange(64) // 32 * 32 + 3]).tolist()


@pytest.mark.parametrize("body", [
    "shfl.sync.idx.b32 %r5, %r1, 3, 0x1f, 0xffffffff;\nbra.uni $END;", "bar.sync 0;\nbra.uni $END;",
])  # fmt: skip
def test_threads_that_never_come_are_waited_for_in_vain(body):
    text = f"setp.gt.u32 %p1, %r1, 3;\n@%p1 bra $END2;\n{body}\n$END2:\nbar.sync 0;\nbra.uni $END2;\n$END:"
    if body.startswith("bar"):
        text = text.replace("$END2:\nbar.sync 0;", "$END2:\nshfl.sync.idx.b32 %r5, %r1, 3, 0x1f, 0xffffffff;")
    with pytest.raises(WaitError, match="waits for ever: block 0 thread 0 and 3 more at .*; block 0 thread 4 and"):
        run(PLACE + text, [np.zeros(32, np.int32)])


def test_what_a_warp_does_aligned_is_reached_by_all_of_it_at_once():
    given = "{%f1, %f2, %f3, %f4}, {%r3, %r3, %r3, %r3}, {%r3, %r3}, {%f1, %f2, %f3, %f4};"
    zeros = "".join(f"mov.f32 %f{k}, 0f00000000;\n" for k in range(1, 5)) + "mov.u32 %r3, 0;\n"
    product = f"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {given}\n"
    run(PLACE + zeros + product, [np.zeros(1, np.float32)])
    part = "setp.gt.u32 %p1, %r1, 3;\n@%p1 bra $END;\n"
    with pytest.raises(WaitError, match="thread 0 comes without its whole warp to mma.sync"):
        run(PLACE + zeros + part + product + "$END:", [np.zeros(1, np.float32)])


def test_an_exchange_needs_threads_that_are_away_until_they_come():
    """Half of a warp takes a way on which it is behind, and the other half waits."""
    array = np.zeros(32, np.int32)
    body = """
setp.lt.u32 %p1, %r1, 16;
mov.u32 %r3, 5;
@%p1 bra $LATE;
$MEET:
shfl.sync.bfly.b32 %r4, %r3, 16, 0x1f, 0xffffffff;
st.global.u32 [%rd4], %r4;
bra.uni $END;
$LATE:
mov.u32 %r3, 7;
bra.uni $MEET;
$END:
"""
    run(PLACE + body, [array])
    assert array.tolist() == [5] * 16 + [7] * 16


GRID = """
ld.param.u64 %rd10, [kernel_param_1];
mov.u32 %r9, 0;
$STEP:
add.s32 %r9, %r9, 1;
mul.lo.s32 %r8, %r9, 3;
{store}
bar.sync 0;
setp.ne.s32 %p1, %r1, 0;
@%p1 bra $MET;
red.release.gpu.global.add.u32 [%rd10], 1;
$WAIT:
ld.acquire.gpu.global.u32 %r7, [%rd10];
setp.lt.s32 %p2, %r7, %r8;
@%p2 bra $WAIT;
$MET:
{second}
{read}
setp.lt.s32 %p3, %r9, 4;
@%p3 bra $STEP;
"""
STORE = """
mul.lo.s32 %r4, %r2, 4;
cvt.u64.u32 %rd11, %r4;
and.b32 %r5, %r9, 1;
mul.wide.u32 %rd12, %r5, 12;
add.s64 %rd11, %rd11, %rd12;
add.s64 %rd11, %rd11, %rd3;
setp.ne.s32 %p4, %r1, 5;
@%p4 st.global.u32 [%rd11], %r9;
"""
READ = "add.s64 %rd13, %rd12, %rd3;\nld.global.u32 %r6, [%rd13+4];"


def grid(store=STORE, second="bar.sync 0;", read=READ, blocks=3, cooperative=True, watch=True):
    """Steps at the end of which three blocks meet; each writes a word, and reads another's behind the barrier."""
    store = store.replace("%p4, %r1, 5;\n@%p4", "%p4, %r1, 5;\n@!%p4")
    arrays = [np.zeros(6, np.int32), np.zeros(1, np.int32)]
    run(
        PLACE + GRID.format(store=store, second=second, read=read), arrays, blocks, cooperative=cooperative, watch=watch
    )
    return arrays


def test_blocks_meet_at_every_step():
    words, counter = grid()
    assert words.tolist() == [4] * 3 + [3] * 3 and counter.tolist() == [12]


def test_blocks_that_never_come_and_launches_that_are_not_cooperative_are_errors():
    with pytest.raises(WaitError, match="waits for ever: .*ld.acquire"):
        grid(blocks=2)
    with pytest.raises(WaitError, match="not cooperative"):
        grid(cooperative=False)


@pytest.mark.parametrize("change", [
    {"second": ""},  # the other threads do not wait for the one that looks
    {"store": STORE.replace("and.b32 %r5, %r9, 1;", "mov.u32 %r5, 0;")},  # written while others may still read
    {"store": STORE.replace("mul.lo.s32 %r4, %r2, 4;", "mov.u32 %r4, 0;")},  # all blocks write one word
], ids=["no barrier", "no turns", "one word"])  # fmt: skip
def test_what_no_barrier_orders_between_blocks_is_a_race(change):
    grid(watch=False, **change)
    with pytest.raises(Race, match="unordered"):
        grid(**change)


SHARED = "st.shared.u32 [%rd6], %r1;\n{0}\nld.shared.u32 %r3, [%rd5+8];\n{1}\nst.shared.u32 [%rd6], %r3;"


def in_a_block(first, second, watch=True):
    text = PLACE + SHARED.format(first, second)
    run(text, [np.zeros(1, np.float32)], shared_bytes=256, threads=64, watch=watch)


@pytest.mark.parametrize("first, second, words", [
    ("", "bar.sync 0;", "thread 2 writes it"), ("bar.sync 0;", "", "several threads reads it, block 0 thread 2"),
])  # fmt: skip
def test_what_no_barrier_orders_in_a_block_is_a_race(first, second, words):
    in_a_block("bar.sync 0;", "bar.sync 0;")
    in_a_block(first, second, watch=False)
    with pytest.raises(Race, match=words):
        in_a_block(first, second)


def test_threads_that_write_one_word_together_race():
    with pytest.raises(Race, match="block 0 thread 0 writes it, block 0 thread 1"):
        run(PLACE + "st.shared.u32 [%rd5], %r1;", [np.zeros(1, np.float32)], shared_bytes=256)
