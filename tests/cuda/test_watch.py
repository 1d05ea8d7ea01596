"""Races are found: all that are there, whatever the order in which threads ran, and none that are not."""

import numpy as np
import pytest

from rnncore.cuda.simulator import Simulated, watched
from rnncore.cuda.watch import Race

HEAD = """
from rnncore.cuda.device import arrive_and_wait, block, blocks, entry, float32, load, shared, store, sync, thread

@entry("float32")
def kernel(tape, weights, memory, numbers, counters, chunk):
    s, i = shared(float32), thread()
"""
ONE = "float32(1)"


def launch(body, blocks=1, threads=2):
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    tape, none = np.zeros(64, np.float32), np.zeros(1, np.float32)
    arrays = [tape, none, none, np.arange(4), np.zeros(4, np.int32), 0]
    with watched():
        Simulated(HEAD + lines).launch(blocks, threads, 64, arrays, True)
    return tape


FIRST = f"if i == 0:\n    store(tape, block(), {ONE})\n"
OTHERS = "load(tape, 1 - block())"


@pytest.mark.parametrize("body, blocks, words", [
    (f"store(tape, 0, {ONE})", 1, r"tape\[0\]: thread 0 of block 0 writes it at line 7 and thread 1 of block 0 writes"),
    (f"store(s, i, {ONE})\nload(s, 1 - i)", 1, r"shared\[1\]: thread 0 .* reads it at line 8 .* thread 1 .* at line 7"),
    (f"load(s, 1 - i)\nstore(s, i, {ONE})", 1, r"shared\[0\]: thread 0 .* writes .* thread 1 .* reads"),
    (f"store(s, i, {ONE})\nsync()\nstore(s, 1 - i, load(s, i))", 1, "shared.*no barrier is between them"),
    (f"{FIRST}sync()\n{OTHERS}", 2, "block 0 .* block 1"),
    (f"arrive_and_wait(counters, 0, 2)\n{FIRST}sync()\n{OTHERS}", 2, "block 1 .* block 0"),
    (f"{FIRST}arrive_and_wait(counters, 0, 1)\n{OTHERS}", 2, "block 0 .* block 1"),  # waits for its own arrival alone
])  # fmt: skip
def test_a_race_is_found(body, blocks, words):
    with pytest.raises(Race, match=words):
        launch(body, blocks)


@pytest.mark.parametrize("body, blocks", [
    (f"store(s, i, {ONE})\nsync()\nv = load(s, 1 - i)\nsync()\nstore(s, i, v)", 1),
    ("for t in range(4):\n    v = load(tape, (t % 2) * 8 + (1 - block()) * 2 + i)\n"
     "    store(tape, (1 - t % 2) * 8 + block() * 2 + i, v)\n    arrive_and_wait(counters, 0, (t + 1) * blocks())", 2),
    ("load(tape, 0)\nload(numbers, 1)", 3),
    (f"if i == 0:\n    store(s, 0, {ONE})\n    return\nload(s, 1)", 1),
])  # fmt: skip
def test_what_is_ordered_is_no_race(body, blocks):
    launch(body, blocks)


def test_one_barrier_too_few_between_steps_is_found():
    """Two buffers in turn need one barrier a step; one buffer needs two."""
    body = "for t in range(2):\n    v = load(s, 1 - i)\n    {}store(s, i, v)\n    sync()"
    launch(body.format("sync()\n    "))
    with pytest.raises(Race):
        launch(body.format(""))


def test_numbers_of_other_types_are_not_stored():
    with pytest.raises(TypeError, match=r"tape\[0\] takes float32, got float"):
        launch("if i == 0:\n    store(tape, 0, 1.0)")


def test_watching_changes_no_number():
    body = "store(s, i, float32(i) / float32(3))\nsync()\nstore(tape, i, load(s, 1 - i) + load(s, i))"
    assert launch(body)[:2].tolist() == [np.float32(1) / np.float32(3)] * 2
