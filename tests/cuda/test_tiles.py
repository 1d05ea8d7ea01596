"""Products on tensor cores: what a device runs, in a simulated warp of 32 lanes, and twins of it in any warp."""

from pathlib import Path

import numpy as np
import pytest

from rnncore.cuda import target, tile_twins
from rnncore.cuda.copies import in_block
from rnncore.cuda.simulator import Simulated, SimulationError, watched
from rnncore.cuda.watch import Race

# The device's own source, which the simulator runs on twins of single instructions
SOURCE = (Path(target.__file__).parent / "tiles.py").read_text()
SOURCE = SOURCE.replace("from __future__ import annotations", "").replace("from .device", "from rnncore.cuda.device")
KERNEL = """
from rnncore.cuda.device import entry, float32, shared, sync, load, store, store_bf16, store_tf32, thread, threads

@entry("float32")
def kernel(tape, weights, memory, numbers, counters, chunk):
    s = shared(float32)
    i = thread()
    while i < {numbers}:
        store_{kind}(tape, i, load(memory, i))
        i += threads()
    {before}
    tile_{kind}({tall}, {ahead}, {eights}, tape, numbers[0], numbers[1], numbers[2], weights, numbers[3], numbers[4],
                numbers[5], numbers[6], s, numbers[7], numbers[8])
    {after}
    i = thread()
    while i < 32 * 72:
        store(memory, i, load(s, i))
        i += threads()
"""
KINDS = {"tf32": 10, "bf16": 7}  # bits of the mantissa
WHERE, PITCH = 2, 70


def text(kind, own=True, before="sync()", after="sync()", tall=True, eights=8, numbers=0):
    head = SOURCE if own else f"from rnncore.cuda.tiles import tile_{kind}\n"
    given = {"tall": tall, "ahead": 2 if tall else 4, "eights": eights, "numbers": numbers}
    return head + KERNEL.format(kind=kind, before=before, after=after, **given)


def rounded(x, bits, away):
    """float32 numbers to so many bits of mantissa, to nearest; ties away from 0, or to even."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    scaled = np.ldexp(mantissa, bits + 1)
    near = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) if away else np.rint(scaled)
    return np.ldexp(near, exponent - bits - 1)


def words(numbers, kind):
    """The words of rounded numbers, as float32 ones."""
    values = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    return (values >> 16).astype(np.uint16).view(np.float32) if kind == "bf16" else values.view(np.float32)


def in_blocks(matrix, together, kind):
    """Rows, so many together, block of k by block of k."""
    many = in_block(kind)
    return matrix.reshape(-1, together, matrix.shape[1] // many, many).transpose(0, 2, 1, 3).ravel()


def tile(kind, rows, eights, blocks, own, threads, first=0, before="sync()", after="sync()"):
    """Sums of a kernel, and what they should be; the kernel itself rounds the rows."""
    rng = np.random.default_rng(rows * 100 + eights)
    many, columns, away = in_block(kind), 8 * eights, kind == "tf32"
    x = np.full((32, blocks * many), np.nan, np.float32)
    x[:rows] = rng.standard_normal((rows, blocks * many))
    w = rounded(rng.standard_normal((columns, blocks * many)).astype(np.float32), KINDS[kind], away)
    numbers = np.array([0, 256 * blocks, rows, 4, 128 * blocks, first, blocks, WHERE, PITCH])
    weights = np.concatenate([np.full(4, np.nan, np.float32), words(in_blocks(w, 8, kind), kind)])
    memory = np.zeros(max(32 * 72, x.size), np.float32)
    memory[: x.size] = in_blocks(x, 16, kind)
    simulated = Simulated(text(kind, own, before, after, rows > 16, eights, x.size))
    simulated.launch(
        1, threads, 4 * 32 * 72, [np.zeros(2 * 256 * blocks, np.float32), weights, memory, numbers,
                                  np.zeros(1, np.int32), 0], False
    )  # fmt: skip
    found = np.lib.stride_tricks.as_strided(memory[WHERE:], (rows, columns), (4 * PITCH, 4)).copy()
    np.lib.stride_tricks.as_strided(memory[WHERE:], (rows, columns), (4 * PITCH, 4))[...] = np.nan
    assert np.isnan(memory[: 32 * 72]).all()  # nothing else is written
    return found, rounded(x[:rows, first * many :], KINDS[kind], away) @ w[:, first * many :].T


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows, eights, blocks, own, threads", [
    (16, 1, 1, True, 32), (13, 4, 5, True, 32), (1, 3, 2, True, 32), (9, 8, 1, True, 32), (23, 2, 4, True, 32),
    (32, 5, 6, True, 32), (17, 6, 1, True, 32), (8, 7, 1, True, 32), (16, 1, 1, False, 4), (5, 3, 2, False, 8),
    (31, 2, 1, False, 4),
])  # fmt: skip
def test_sums_are_those_of_rounded_operands(kind, rows, eights, blocks, own, threads):
    found, want = tile(kind, rows, eights, blocks, own, threads)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=2e-6 * np.sqrt(32 * blocks))


@pytest.mark.parametrize("own, threads", [(True, 32), (False, 8)])
def test_a_share_of_the_inner_size(own, threads):
    found, want = tile("tf32", 4, 1, 3, own, threads, first=2)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


def test_lanes_that_are_missing_are_an_error():
    with pytest.raises(SimulationError, match="for the rest of their warp"):
        tile("tf32", 4, 1, 1, True, 16)
    with pytest.raises(SimulationError, match="for the rest of their warp"):
        tile("bf16", 4, 1, 1, False, 2)


@pytest.mark.parametrize("own, threads", [(True, 32), (False, 4)])
def test_rows_and_sums_are_read_after_a_barrier(own, threads):
    """Halves of a word are two threads' own; who reads it reads both."""
    with watched():
        tile("bf16", 4, 1, 1, own, threads)
        for missing in ("before", "after"):
            with pytest.raises(Race):
                tile("bf16", 4, 1, 1, own, threads, **{missing: "pass"})


def test_places_that_words_cannot_be_read_from_are_an_error():
    for place, error in ((0, "words cannot be read"), (3, "words cannot be read"), (7, "a tile of"), (8, "a tile of")):
        numbers = np.array([0, 256, 2, 4, 128, 0, 1, 0, 40])
        numbers[place] += 1
        rows = np.zeros(4096, np.float32)
        given = [rows, rows, rows, numbers, np.zeros(1, np.int32), 0]
        with pytest.raises(IndexError, match=error):
            Simulated(text("tf32", False)).launch(1, 4, 4 * 32 * 72, given, False)


@pytest.mark.parametrize("value, tf32, bf16", [
    (1.0, 0x3F800000, 0x3F80), (-2.0, 0xC0000000, 0xC000), (1 + 2.0**-11, 0x3F802000, 0x3F80),
    (1 + 2.0**-8, 0x3F808000, 0x3F80), (1 + 3 * 2.0**-8, 0x3F818000, 0x3F82), (np.inf, 0x7F800000, 0x7F80),
    (-np.inf, 0xFF800000, 0xFF80), (3.4028235e38, 0x7F800000, 0x7F80), (1e-45, 0, 0), (np.nan, 0x7FC00000, 0x7FFF),
])  # fmt: skip
def test_numbers_are_rounded_as_the_instructions_say(value, tf32, bf16):
    """By the device, and where weights are packed."""
    from rnncore.cuda.space import put, xp
    from rnncore.cuda.weights import rounded_words

    assert tile_twins.to_tf32(np.float32(value)) == tf32
    assert tile_twins.to_bf16(np.float32(value)) == bf16
    pair = put(np.array([value, -value], np.float32))
    assert xp.asnumpy(rounded_words(pair, "tf32")).view(np.uint32)[0] == tf32
    assert xp.asnumpy(rounded_words(pair, "bf16")).view(np.uint16)[0] == bf16
