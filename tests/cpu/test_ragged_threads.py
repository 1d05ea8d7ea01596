"""Threads that do not meet at the end of a chunk must not share rows: ragged rows move from chunk to chunk."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.cpu import run
from rnncore.cpu.chunks import Chunk


@pytest.mark.parametrize("which", ["infer", "forward"])
def test_ragged_batches_over_many_chunks_are_the_same_for_any_number_of_threads(which, monkeypatch):
    monkeypatch.setattr(run, "forward_chunk", lambda *_: Chunk(1, 20, 20))  # few steps: one a chunk would hide it
    net = rn.Network(rn.cells.lstm(96), inputs=16)
    params = net.init(seed=0)
    rng = np.random.default_rng(0)
    lengths = np.array([400, 371, 263])  # two sequences in one thread, one in the other, which runs ahead
    x = rng.standard_normal((3, 400, 16)).astype("float32")
    results = []
    for threads in ["1", "2", "3"] + ["2"] * 20:
        monkeypatch.setenv("RNNCORE_NUM_THREADS", threads)
        if which == "infer":
            y, _ = net(params, x, lengths=lengths)
        else:
            y, _, tape = net.forward(params, x, lengths=lengths)
            tape.release()
        results.append(y)
    assert all(np.array_equal(results[0], y) for y in results[1:])
