"""Batches of ragged data: shuffled, and close in length, so that little is padded."""

from __future__ import annotations

import numpy as np

from ..errors import InputError

__all__ = ["bucketed_batches", "batches_by_length"]


def bucketed_batches(lengths, batch_size: int, rng: np.random.Generator, pool: int = 8) -> list[np.ndarray]:
    """Shuffle sequences into batches whose members are close in length.

    The shuffled sequences are cut into pools of `pool` batches, each pool is sorted by length
    and cut into batches, and the batches are shuffled (Khomenko et al., Accelerating recurrent
    neural network training using sequence bucketing, arXiv:1708.05604, 2017).

    Parameters
    ----------
    lengths : array_like of int, (sequences,)
        Steps of each sequence.
    batch_size : int
        Sequences of a batch, at least 1; the last of a pool may hold fewer.
    rng : numpy.random.Generator
        The only source of chance: the same state gives the same batches.
    pool : int
        Batches of a pool, at least 1. 1 shuffles without regard to length.

    Returns
    -------
    list of ndarray of int64
        Indices of the sequences of each batch; together every sequence once.

    Raises
    ------
    InputError
        If `batch_size` or `pool` is below 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> batches = bucketed_batches([5, 1, 4, 2, 6, 3], 2, rng, pool=3)
    >>> sorted(sorted(b.tolist()) for b in batches)
    [[0, 4], [1, 3], [2, 5]]
    """
    if batch_size < 1 or pool < 1:
        raise InputError(f"batch_size and pool must be at least 1, got {batch_size} and {pool}")
    lengths = np.asarray(lengths)
    order = rng.permutation(len(lengths))
    if pool > 1:
        pools = np.arange(len(lengths)) // (batch_size * pool)
        order = order[np.lexsort((lengths[order], pools))]
    batches = _cut(order, batch_size)
    return [batches[i] for i in rng.permutation(len(batches))]


def batches_by_length(lengths, batch_size: int) -> list[np.ndarray]:
    """Indices of sequences sorted by length, cut into batches: for evaluation, where order is free."""
    return _cut(np.argsort(lengths, kind="stable"), batch_size)


def _cut(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
