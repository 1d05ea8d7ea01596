"""Batches: every sequence once, close in length, the same for the same generator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore.errors import InputError
from rnncore.train.buckets import batches_by_length, bucketed_batches

ragged = st.lists(st.integers(0, 50), max_size=60)


@settings(max_examples=80, deadline=None)
@given(ragged, st.integers(1, 9), st.integers(1, 5), st.integers(0, 3))
def test_every_sequence_once_and_deterministic(lengths, batch_size, pool, seed):
    batches = bucketed_batches(lengths, batch_size, np.random.default_rng(seed), pool)
    assert sorted(i for b in batches for i in b) == list(range(len(lengths)))
    assert all(1 <= len(b) <= batch_size for b in batches)
    assert len(batches) == -(-len(lengths) // batch_size)
    again = bucketed_batches(lengths, batch_size, np.random.default_rng(seed), pool)
    assert [b.tolist() for b in again] == [b.tolist() for b in batches]


@settings(max_examples=40, deadline=None)
@given(ragged, st.integers(1, 9), st.integers(0, 3))
def test_one_pool_of_all_makes_batches_that_do_not_overlap_in_length(lengths, batch_size, seed):
    pool = len(lengths) + 1
    batches = bucketed_batches(lengths, batch_size, np.random.default_rng(seed), pool)
    spans = sorted((min(lengths[i] for i in b), max(lengths[i] for i in b)) for b in batches)
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


def padding(lengths, batches):
    return sum(lengths[b].max() * len(b) for b in batches) / lengths.sum() - 1


def test_pools_save_padding_and_keep_chance():
    lengths = np.random.default_rng(0).integers(5, 100, 512)
    shuffled, pooled = (bucketed_batches(lengths, 16, np.random.default_rng(1), p) for p in (1, 8))
    assert padding(lengths, pooled) < 0.3 * padding(lengths, shuffled)
    next_epoch = bucketed_batches(lengths, 16, np.random.default_rng(2), 8)
    assert {tuple(sorted(b)) for b in pooled}.isdisjoint(tuple(sorted(b)) for b in next_epoch)


def test_equal_lengths_are_shuffled():
    batches = bucketed_batches([7] * 40, 10, np.random.default_rng(0), 4)
    assert np.concatenate(batches).tolist() != list(range(40))


def test_by_length():
    assert [b.tolist() for b in batches_by_length([3, 1, 2, 1], 3)] == [[1, 3, 2], [0]]
    assert batches_by_length([], 3) == []


@pytest.mark.parametrize(("batch_size", "pool"), [(0, 1), (1, 0)])
def test_sizes_of_no_meaning(batch_size, pool):
    with pytest.raises(InputError, match="at least 1"):
        bucketed_batches([1], batch_size, np.random.default_rng(0), pool)
