"""Buffers: aligned, given back once, used again, never more kept than allowed."""

import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rnncore.cpu import memory


@pytest.fixture
def shelf(monkeypatch):
    monkeypatch.setattr(memory, "_shelf", memory._Shelf())
    return memory._shelf


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 1000, 10**6])
def test_a_buffer_is_aligned_and_large_enough(nbytes, shelf):
    buffer = memory.take(nbytes)
    assert buffer.address % 64 == 0 and buffer.nbytes == nbytes
    array = buffer.array((nbytes,), "uint8")
    array[:] = 1
    assert memory.address_of(array) == buffer.address or nbytes == 0
    assert array.nbytes == nbytes and buffer.array((nbytes // 8, 2), "float32").shape == (nbytes // 8, 2)


def test_memory_that_was_given_back_is_used_again(shelf):
    first = memory.take(1000)
    address = first.address
    first.give_back()
    first.give_back()  # once more is no mistake
    assert shelf.bytes >= 1000
    again, other = memory.take(1000), memory.take(1000)
    assert again.address == address != other.address and shelf.bytes == 0


class Slow(list):
    """Where another thread has time to come between looking and taking."""

    def __bool__(self):
        found = len(self) > 0
        time.sleep(0.05)
        return found


def test_two_threads_do_not_take_the_same_memory(shelf):
    memory.take(1000).give_back()
    shelf.free = {size: Slow(stack) for size, stack in shelf.free.items()}
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(memory.take, [1000, 1000])
    assert one.address != other.address and shelf.bytes == 0


def test_what_is_collected_while_memory_is_taken_is_given_back(shelf):
    """Here by the thread that takes it, which has the lock then."""

    class Collected(dict):
        def get(self, key):
            tape.give_back()
            return super().get(key)

    shelf.free, tape = Collected(), memory.take(5000)
    thread = threading.Thread(target=memory.take, args=(100,), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive() and shelf.bytes >= 5000


def test_memory_of_a_size_that_comes_again_is_not_rounded_up(shelf):
    for nbytes in (1, 100_000, 10**6 + 1):
        buffer = memory.take(nbytes, same=True)
        assert len(buffer.raw) <= nbytes + 128 and buffer.address % 64 == 0
        address = buffer.address
        buffer.give_back()
        assert memory.take(nbytes, same=True).address == address


def test_what_is_there_to_the_end_is_let_go_quietly():
    code = "from rnncore.cpu import memory as m; m.kept, m.itself = m.zeros((10**5,), 'float64'), m"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_sizes_that_are_nearly_equal_meet_again(shelf):
    memory.take(100_000).give_back()
    assert memory.take(99_000).address % 64 == 0 and shelf.bytes == 0


def test_no_more_is_kept_than_allowed(shelf, monkeypatch):
    monkeypatch.setattr(memory, "_KEEP_BYTES", 10_000)
    for nbytes in (4000, 4500, 5000, 20_000):
        memory.take(nbytes).give_back()
        assert shelf.bytes <= 10_000 and shelf.bytes == sum(a.nbytes for stack in shelf.free.values() for a in stack)


def test_the_address_of_an_array():
    array = np.arange(4.0)
    assert memory.address_of(array) == array.ctypes.data and memory.address_of(array[1:]) == array.ctypes.data + 8


@pytest.mark.parametrize("make", [memory.empty, memory.zeros])
def test_a_lent_array_is_like_any_other(make, shelf):
    array = make((300, 100), "float64")
    assert array.shape == (300, 100) and array.dtype == "float64" and array.flags.c_contiguous
    if make is memory.zeros:
        assert not array.any()
    array[:] = 1
    array.flags.writeable = False
    array.flags.writeable = True
    copied = pickle.loads(pickle.dumps(array))
    address = memory.address_of(array)
    view = array[5:, 3]
    del array
    assert shelf.bytes == 0 and view.all()  # as long as somebody looks at it
    del view
    assert shelf.bytes >= 240_000 and copied.all()
    assert memory.address_of(make((300, 100), "float64")) == address


def test_a_small_array_is_not_lent(shelf):
    assert memory.empty((10,), "float32").base is None and memory.zeros((0, 3), "float32").shape == (0, 3)
