"""The simulator: barriers that are real, between threads and between blocks, and what would hang raises."""

import numpy as np
import pytest

from rnncore.cuda.simulator import Simulated, SimulationError

ENTRY = '@entry("float32")\ndef kernel(tape, weights, memory, numbers, counters, chunk):'
HEAD = """
from rnncore.cuda.device import arrive_and_wait, block, blocks, entry, float32, function, load, shared, store, sync
from rnncore.cuda.device import thread, threads
"""


def launched(body, blocks=1, threads=1, tape=8, memory=(), numbers=(), shared_bytes=0, cooperative=False):
    """The tape and the counters after a launch of a kernel with this body."""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    kernel = Simulated(f"{HEAD}\n{ENTRY}\n{lines}")
    rows, counters = np.zeros(tape, np.float32), np.zeros(4, np.int32)
    given = [rows, np.zeros(1, np.float32), np.array(memory, np.float32), np.array(numbers, np.int64), counters, 0]
    kernel.launch(blocks, threads, shared_bytes, given, cooperative)
    return rows, counters


def test_threads_and_blocks_know_their_places():
    tape, _ = launched("store(tape, block() * threads() + thread(), float32(10 * block() + thread()))", 2, 3, 6)
    assert tape.tolist() == [0, 1, 2, 10, 11, 12]


def test_what_is_shared_is_seen_by_the_threads_of_a_block_alone_after_they_have_met():
    body = """
s = shared(float32)
store(s, thread(), float32(thread() + 10 * block()))
sync()
store(tape, block() * threads() + thread(), load(s, threads() - 1 - thread()))
"""
    tape, _ = launched(body, 2, 3, 6, shared_bytes=12)
    assert tape.tolist() == [2, 1, 0, 12, 11, 10]


def test_shared_memory_holds_nothing_before_it_is_written():
    tape, _ = launched("store(tape, 0, load(shared(float32), 0))", shared_bytes=4)
    assert np.isnan(tape[0])


def test_blocks_meet_at_every_step():
    """Each step reads what all blocks wrote in the last one: wrong by far where a barrier lets one through."""
    body = """
for t in range(load(numbers, 0)):
    total = float32(0)
    for k in range(blocks()):
        total += load(tape, (t % 2) * 3 + k)
    if thread() == 0:
        store(tape, (1 - t % 2) * 3 + block(), total + float32(block()))
    arrive_and_wait(counters, 1, (t + 1) * blocks())
"""
    tape, counters = launched(body, 3, 2, 6, numbers=[5], cooperative=True)
    expected = np.zeros(3)
    for _ in range(5):
        expected = expected.sum() + np.arange(3)
    assert tape[3:].tolist() == expected.tolist() and counters.tolist() == [0, 15, 0, 0]


def test_functions_of_the_text_may_wait_and_give_values():
    text = (
        HEAD
        + """
@function
def turned(s, i):
    store(s, i, float32(i))
    sync()
    return load(s, threads() - 1 - i)

@function
def twice(s, i):
    return turned(s, i) * float32(2)

@entry("float32")
def kernel(tape, weights, memory, numbers, counters, chunk):
    store(tape, thread(), twice(shared(float32), thread()) + float32(1))
"""
    )
    tape = np.zeros(2, np.float32)
    Simulated(text).launch(1, 2, 8, [*[tape] * 3, np.zeros(0, np.int64), np.zeros(0, np.int32), 0], False)
    assert tape.tolist() == [3, 1]


WARPS = """
from rnncore.cuda.device import WARP, lane_terms4, warp_max, warp_sum
"""


def test_lanes_of_a_warp_are_summed_for_all_of_them_while_other_warps_go_their_own_way():
    body = """
if thread() < WARP:
    total = warp_sum(float32(thread()))
    store(tape, thread(), total + warp_max(float32(thread())))
sync()
store(tape, thread() + threads(), load(tape, WARP - 1 - thread() % WARP))
"""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    tape = np.zeros(16, np.float32)
    given = [*[tape] * 3, np.zeros(1, np.int64), np.zeros(1, np.int32), 0]
    Simulated(f"{HEAD}{WARPS}\n{ENTRY}\n{lines}").launch(1, 8, 0, given, False)
    assert tape.tolist() == [9] * 4 + [0] * 4 + [9] * 8


def test_a_missing_lane_and_four_numbers_from_elsewhere_are_errors():
    given = [*[np.zeros(8, np.float32)] * 3, np.zeros(1, np.int64), np.zeros(1, np.int32), 0]
    alone = f"{HEAD}{WARPS}\n{ENTRY}\n    if thread() > 0:\n        warp_sum(float32(1))\n    sync()\n"
    with pytest.raises(SimulationError, match=r"threads \[1, 2, 3\] for the rest of their warp"):
        Simulated(alone).launch(1, 4, 0, given, False)
    with pytest.raises(IndexError, match="four numbers .* index 2"):
        read = "lane_terms4(((float32(0),),), tape, (0,), 2, tape, (0,))"
        Simulated(f"{HEAD}{WARPS}\n{ENTRY}\n    {read}\n").launch(1, 1, 0, given, False)


def test_a_thread_that_has_ended_is_waited_for_no_more():
    body = """
if thread() == 0:
    return
sync()
store(tape, thread(), float32(1))
"""
    assert launched(body, 1, 3, 3)[0].tolist() == [0, 1, 1]


@pytest.mark.parametrize("body, blocks, cooperative, words", [
    ("arrive_and_wait(counters, 0, 3)", 2, True, "for ever: .*block 0 thread 0 for counter 0 to reach 3, it is 2"),
    ("if block() == 0:\n    arrive_and_wait(counters, 0, 2)", 2, True, "waits for ever"),
    ("arrive_and_wait(counters, 0, 2)", 2, False, "not cooperative"),
])  # fmt: skip
def test_what_would_hang_is_an_error(body, blocks, cooperative, words):
    with pytest.raises(SimulationError, match=words):
        launched(body, blocks, 2, cooperative=cooperative)


@pytest.mark.parametrize("body", ["load(tape, -1)", "store(tape, -1, float32(0))", "load(tape, 8)", "load(numbers, 0)"])
def test_an_index_outside_is_an_error(body):
    with pytest.raises(IndexError):
        launched(body)


def test_arrays_of_other_types_are_an_error():
    kernel = Simulated(f"{HEAD}\n{ENTRY}\n    sync()\n")
    rows = np.zeros(4)
    with pytest.raises(TypeError, match="1 axes of float64, where a contiguous vector of float32"):
        kernel.launch(1, 1, 0, [rows, rows, np.zeros(1, np.int64), np.zeros(1, np.int32)], False)


def test_a_failure_shows_the_line_of_the_text():
    with pytest.raises(IndexError) as caught:
        launched("sync()\nload(tape, 99)  # here")
    assert any("# here" in str(entry.statement) for entry in caught.traceback)
