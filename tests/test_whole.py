"""Tables of programs: whole whoever asks at one time, and a program's memory is used again."""

import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import whole
from rnncore.cpu import limits, memory, pool
from rnncore.whole import Shapes

net = rn.Network(stress.stacked(stress.memory(24), stress.gated(24)), inputs=3, outputs=2)
params = net.init(seed=0)


class Slow(dict):
    """Where other threads have time to come between looking and taking."""

    def __iter__(self):
        found = list(super().__iter__())
        time.sleep(0.001)
        return iter(found)


class Table(Shapes):
    """Of programs that are nothing but their shapes."""

    def __init__(self):
        super().__init__(net, params.dtype)
        self._kept, self._seen = Slow(), Slow()

    def write(self, batch, time, which):
        return Program(batch, time, which)


class Program:
    short = True

    def __init__(self, *key):
        self.key, self.last = key, 0

    @property
    def used(self):
        time.sleep(0.0001)
        return self.last

    @used.setter
    def used(self, value):
        self.last = value


def test_sixteen_threads_ask_for_programs_of_many_shapes():
    table, start = Table(), threading.Barrier(16, timeout=20)

    def caller(k):
        shapes = [(1 + k, 1 + t, False) for t in range(10)]
        found = []
        for turns in (1, 3):
            start.wait()
            found += [(shape, table.of(*shape)) for shape in shapes for _ in range(turns)]
        return found

    with ThreadPoolExecutor(16) as threads:
        found = [pair for pairs in threads.map(caller, range(16)) for pair in pairs]
    assert all(program is None or program.key == shape for shape, program in found)
    assert len(table._kept) == whole._SHAPES and len(table._seen) == whole._SEEN and any(p for _, p in found)


@pytest.mark.parametrize("lengths", [None, np.arange(9) * 37])
@pytest.mark.parametrize("way", ["calls", "training steps"])
def test_of_a_shape_that_comes_again_no_new_memory_is_taken(way, lengths, monkeypatch):
    new, shelf, x = [], memory._Shelf(), np.ones((9, 300, 3), "float32")
    get, run = shelf.get, net.bind(params)
    shelf.get = lambda size: found if (found := get(size)) is not None else new.append(size)
    monkeypatch.setattr(memory, "_shelf", shelf)

    def work():
        if way == "calls":
            run(x, lengths=lengths)
        else:
            y, _, tape = net.forward(params, x, lengths=lengths)
            net.backward(params, tape, y)

    for turn in range(6):
        new.clear()
        work()
        assert turn < 3 or not new, turn


def test_programs_that_are_worth_threads_have_them(monkeypatch):
    had, run, x, ready = [], net.bind(params), np.ones((16, 40, 3), "float32"), pool._Pool.ready
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "2")
    monkeypatch.setattr(limits, "_mine", threading.local())  # of no limit that another test has left
    monkeypatch.setattr(pool._Pool, "ready", lambda self, n: had.append(n) or ready(self, n))
    for _ in range(3):
        had.clear()
        run(x)
    assert had == [1]  # for all layers at once, where the long way asks for each
    own = copy.copy(net)
    for _ in range(3):
        had.clear()
        y, _, tape = own.forward(params, x)
        own.backward(params, tape, y)
    assert had == [1, 1]
