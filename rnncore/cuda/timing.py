"""What a step of a layout takes by a small model of a multiprocessor, for `rnncore.cuda.geometry` to choose by.

Work between two barriers takes as long as the busiest of what it uses: the schedulers' places for instructions, the
load unit, the cache that all blocks share, or the waiting of one warp for its own results. The figures are those of a
longer model, which runs kernels' compiled code (`benchmarks.expected`): over 158 kernels of LSTM and GRU, of 64 to 2048
units and 1 to 256 rows, laid out at random, this one is off by 13 % (standard deviation).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CLOCK", "MEET", "SYNC", "Used", "partial_sums", "phase", "product", "together"]

CLOCK = 1.98e9  # Hz
SYNC = 50  # cycles of the threads of a block to meet
MEET = 2300  # of blocks: an atomic add and a read that sees it, through the shared cache
WARP = 32
SCHEDULERS = 4
CACHE = 39  # bytes that a multiprocessor reads in a cycle of the cache that all share, while all do
LINE = 128  # bytes that the load unit gives in a cycle
LATENCY = 34  # cycles of a load from shared memory, or from the multiprocessor's own cache
FMA = 4.5  # cycles of a multiply-add until its result is there
EXCHANGE = 36  # cycles of a step of a warp's sum: lanes exchange, and add


@dataclass(frozen=True)
class Used:
    """Cycles of a multiprocessor, by what is used."""

    issue: float = 0.0
    loads: float = 0.0
    far: float = 0.0
    latency: float = 0.0


def together(parts: list[Used]) -> float:
    """Cycles of what runs between two barriers."""
    return max(sum(getattr(p, name) for p in parts) for name in ("issue", "loads", "far", "latency"))


def product(
    inner: tuple[int, ...], columns: int, rows: int, high: int, wide: int, split: int, threads: int, laned: bool,
    streamed: float, words: float,
) -> Used:  # fmt: skip
    """Sums of `rows` x `columns` over the sizes `inner`, of numbers of so many 32-bit words.

    `high` x `wide` of them are summed at once over one of `split` shares of the inner size: by a thread; or by the
    lanes of a warp (``laned``), each four numbers of every row and column at a time. The part of the weights that is
    `streamed` is read from the shared cache.
    """
    groups, tops = -(-columns // wide), -(-rows // high)
    items, sums, total = groups * tops * split, high * wide, sum(inner)
    if laned:
        warps = max(1, threads // WARP)
        turns = sum(-(-n // (4 * WARP * split)) for n in inner)
        many, rounds, alike = items, -(-items // warps), max(1, warps // (groups * split))
        loads = 4.0 * (high + wide)
        issue, ending = 4 * sums + 2 * (high + wide) + 8, 5 * _exchanges(sums) + 60 + 4 * high
        latency = turns * (LATENCY + max(4 * FMA, 4 * sums)) + 5 * EXCHANGE + 100
    else:
        turns = max(1, -(-total // (4 * split)))
        many, rounds, alike = -(-items // WARP), -(-items // threads), tops
        shares = max(1.0, min(split, WARP / (groups * tops)))  # that a warp's lanes have
        weights = max(1.0, min(groups * shares, WARP) * wide * 4 / LINE)
        lines = min(tops, max(1.0, WARP / groups)) * min(shares, 1 + shares * total / split * 4 / LINE)
        loads = 4 * weights + high * lines
        loop = 5 if sums <= 16 else 18  # eight terms of a few sums, four of many
        issue, ending = 4 * sums + 2 * (high + wide) + loop, 60 + 3 * sums
        latency = turns * (LATENCY / 2 + max(4 * FMA, 4 * sums)) + 120
    far = rows * total + streamed * total * columns * -(-tops // alike)
    places = many * (turns * issue + ending) * words / SCHEDULERS
    return Used(places, many * turns * loads * words, far * 4 * words / CACHE, rounds * latency)


def _exchanges(sums: int) -> int:
    """Of a warp that adds up so many sums of its lanes."""
    return sums - 1 + max(0, 6 - sums.bit_length())


def partial_sums(numbers: int, shares: int, threads: int, words: float) -> Used:
    """The adding up of so many shares of each number."""
    warps, reads = -(-numbers // WARP), shares // 4 + shares % 4
    latency = -(-numbers // threads) * reads * (LATENCY + 2 * FMA)
    return Used(warps * shares * 2.5 * words / SCHEDULERS, warps * shares * words, 0.0, latency)


def phase(numbers: int, threads: int) -> Used:
    """Work on each row and unit."""
    return Used(-(-numbers // WARP) * 160 / SCHEDULERS, 0.0, 0.0, -(-numbers // threads) * 400)
