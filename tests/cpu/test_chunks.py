"""The most rows of a chunk: the same number in Python and in programs."""

import ctypes

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore.cpu.advance import runner
from rnncore.cpu.chunks import Chunk, backward_chunk, forward_chunk

numbers = st.integers(0, 2**40)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**20), numbers, st.integers(1, 2**31), numbers, st.integers(0, 2**20), st.integers(0, 2**20))
def test_programs_count_as_python_does(width, least, most, fixed, each, total):
    chunk, to = Chunk(width, least, most, fixed, each), np.zeros(1, np.int64)
    limited = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 16)(runner("float32").functions["limited"])
    limited(total, fixed, each, width, least, most, to.ctypes.data, *[0] * 9)
    assert to[0] == chunk.rows(total)


def test_more_rows_make_no_smaller_chunk_and_there_is_always_one():
    for chunk in (forward_chunk(0, 1), forward_chunk(2**40, 2), backward_chunk(7000, 0, 9000), backward_chunk(0, 1, 0)):
        rows = [chunk.rows(total) for total in (0, 1, 10**3, 10**6)]
        assert rows == sorted(rows) and rows[0] >= 1
