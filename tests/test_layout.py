"""How a ragged batch lies in memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore.layout import Rows, layout_of

some_lengths = st.lists(st.integers(0, 9), max_size=12).map(lambda v: np.array(v, np.int64))


@given(some_lengths)
def test_sequences_in_the_order_of_falling_length(lengths):
    layout = layout_of(lengths, False)
    np.testing.assert_array_equal(layout.sorted_lengths, np.sort(lengths)[::-1])
    np.testing.assert_array_equal(lengths[layout.order], layout.sorted_lengths)
    assert layout.batch == len(lengths) and layout.rows == lengths.sum() and layout.time == lengths.max(initial=0)
    np.testing.assert_array_equal(layout.counts, [(lengths > t).sum() for t in range(layout.time)])
    np.testing.assert_array_equal(np.diff(layout.offsets), layout.counts)


@given(some_lengths, st.integers(1, 40))
def test_chunks_cover_the_time_once_and_keep_the_limit(lengths, limit):
    layout = layout_of(lengths, False)
    starts, most = layout.starts(limit)
    assert starts[0] == 0 and starts[-1] == layout.time and (np.diff(starts) > 0).all()
    rows = [int(layout.counts[a:b].sum()) for a, b in zip(starts, starts[1:], strict=False)]
    assert most == max(rows, default=0)
    for n, a, b in zip(rows, starts, starts[1:], strict=False):
        assert n <= limit or b == a + 1


@pytest.mark.parametrize("batch, time", [(0, 0), (1, 1), (3, 0), (0, 4), (4, 7)])
def test_equal_lengths(batch, time):
    lengths = np.full(batch, time, np.int64)
    full, ragged = layout_of(lengths, True), layout_of(lengths, False)
    for a, b in ((full.order, ragged.order), (full.counts, ragged.counts), (full.offsets, ragged.offsets)):
        np.testing.assert_array_equal(a, b)
    assert full.identity


@given(some_lengths)
def test_rows_of_all_steps_forward_and_backward(lengths):
    base = np.cumsum(lengths + 2) - lengths
    rows, within = Rows(base, 1), [np.arange(n) for n in lengths]
    want = [b + w for b, w in zip(base, within, strict=True)]
    turned = [b + w[::-1] for b, w in zip(base, within, strict=True)]
    empty = [np.zeros(0, int)]
    np.testing.assert_array_equal(rows.index(lengths), np.concatenate(want + empty))
    np.testing.assert_array_equal(rows.reversed(lengths).index(lengths), np.concatenate(turned + empty))
    np.testing.assert_array_equal(rows.reversed(lengths).reversed(lengths).index(lengths), rows.index(lengths))


def test_what_was_not_used_for_longest_goes_first():
    layout, made = layout_of(np.array([3, 1]), False), []

    def kept(key):
        return layout.kept(key, lambda: made.append(key) or f"of {key}")

    for key in range(64):
        assert kept(key) == f"of {key}"
    for key in (0, 0, 64, 0, 63):  # 0 is used again and again; 1 makes room for 64
        assert kept(key) == f"of {key}"
    assert made == list(range(65)) and len(layout.frames) == 64 and 1 not in layout.frames
    kept(1)
    assert made[-1] == 1 and 2 not in layout.frames and 0 in layout.frames


def test_what_is_made_may_ask_for_the_same():
    layout = layout_of(np.array([3, 1]), False)
    assert layout.kept("a", lambda: layout.kept("a", lambda: "inner")) == "inner"
