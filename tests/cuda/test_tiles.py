"""Products on tensor cores: what a device runs, in a simulated warp of 32 lanes, and twins of it in any warp."""

from pathlib import Path

import numpy as np
import pytest

from rnncore.cuda import target, tile_twins
from rnncore.cuda.simulator import Simulated, SimulationError, watched
from rnncore.cuda.watch import Race

# The device's own source, which the simulator runs on twins of single instructions
SOURCE = (Path(target.__file__).parent / "tiles.py").read_text()
SOURCE = SOURCE.replace("from __future__ import annotations", "").replace("from .device", "from rnncore.cuda.device")
KERNEL = """
from rnncore.cuda.device import entry, float32, shared, sync, load, store, thread, threads{imported}

@entry("float32")
def kernel(tape, weights, memory, numbers, counters, chunk):
    s = shared(float32)
    {kind}(tape, numbers[0], numbers[1], numbers[2], weights, numbers[3], numbers[4], numbers[5], numbers[6],
           numbers[7], s, numbers[8], numbers[9])
    {sync}
    i = thread()
    while i < 16 * 40:
        store(memory, i, load(s, i))
        i += threads()
"""
KINDS = {"tile_tf32": 10, "tile_bf16": 7}  # bits of the mantissa


def text(kind, own=True, sync="sync()"):
    if own:
        return SOURCE + KERNEL.format(imported="", kind=kind, sync=sync)
    return f"from rnncore.cuda.tiles import {kind}\n" + KERNEL.format(imported="", kind=kind, sync=sync)


def rounded(x, bits, away):
    """float32 numbers to so many bits of mantissa, to nearest; ties away from 0, or to even."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    scaled = np.ldexp(mantissa, bits + 1)
    near = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) if away else np.rint(scaled)
    return np.ldexp(near, exponent - bits - 1)


def tile(kind, rows, columns, inner, own, threads, first=0, sync="sync()"):
    """Sums of a kernel, and what they should be."""
    rng = np.random.default_rng(rows * 100 + columns)
    stride, step, length = inner + 4, inner + 8, -(-inner // 4) * 4
    x = rng.standard_normal((rows, stride - stride % 4)).astype(np.float32)
    w = rng.standard_normal((columns, step - step % 4)).astype(np.float32)
    w[:, inner:length] = 0  # what stands behind a row is finite, behind a column 0
    given = [np.concatenate([np.full(4, np.nan, np.float32), m.ravel()]) for m in (x, w)]
    numbers = np.array([4, x.shape[1], rows, 4, w.shape[1], columns, first, length, 3, 40])
    memory = np.zeros(640, np.float32)
    Simulated(text(kind, own, sync)).launch(
        1, threads, 2560, [given[0], given[1], memory, numbers, np.zeros(1, np.int32), 0], False
    )
    found = np.lib.stride_tricks.as_strided(memory[3:], (rows, columns), (160, 4))
    bits, away = KINDS[kind], kind == "tile_tf32"
    want = rounded(x[:, first:length], bits, away) @ rounded(w[:, first:length], bits, away).T
    others = memory.copy()
    np.lib.stride_tricks.as_strided(others[3:], (rows, columns), (160, 4))[...] = np.nan
    assert np.isnan(others).all()  # nothing else is written
    return found, want


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows, columns, inner, own, threads", [
    (16, 8, 16, True, 32), (16, 32, 20, True, 32), (3, 5, 4, True, 32), (9, 17, 36, True, 32), (1, 1, 1, True, 32),
    (16, 8, 16, False, 4), (5, 7, 12, False, 8), (2, 1, 5, False, 4),
])  # fmt: skip
def test_sums_are_those_of_rounded_operands(kind, rows, columns, inner, own, threads):
    found, want = tile(kind, rows, columns, inner, own, threads)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=2e-6 * np.sqrt(inner))


@pytest.mark.parametrize("own, threads", [(True, 32), (False, 8)])
def test_a_share_of_the_inner_size(own, threads):
    found, want = tile("tile_tf32", 4, 4, 24, own, threads, first=8)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


def test_lanes_that_are_missing_are_an_error():
    with pytest.raises(SimulationError, match="for the rest of their warp"):
        tile("tile_tf32", 4, 4, 8, True, 16)
    with pytest.raises(SimulationError, match="for the rest of their warp"):
        tile("tile_bf16", 4, 4, 8, False, 2)


@pytest.mark.parametrize("own, threads", [(True, 32), (False, 4)])
def test_sums_are_read_after_a_barrier(own, threads):
    with watched():
        tile("tile_tf32", 4, 4, 8, own, threads)
        with pytest.raises(Race):
            tile("tile_tf32", 4, 4, 8, own, threads, sync="pass")


@pytest.mark.parametrize("place", [0, 1, 3, 4, 6])
def test_places_that_four_numbers_cannot_be_read_from_are_an_error(place):
    numbers = np.array([4, 8, 2, 4, 8, 2, 0, 8, 0, 40])
    numbers[place] += 2
    rows, none = np.zeros(64, np.float32), np.zeros(1, np.int32)
    with pytest.raises(IndexError, match="four numbers cannot be read at once"):
        Simulated(text("tile_tf32", False)).launch(1, 4, 2560, [rows, rows, rows, numbers, none, 0], False)


@pytest.mark.parametrize("value, tf32, bf16", [
    (1.0, 0x3F800000, 0x3F80), (-2.0, 0xC0000000, 0xC000), (1 + 2.0**-11, 0x3F802000, 0x3F80),
    (1 + 2.0**-8, 0x3F808000, 0x3F80), (1 + 3 * 2.0**-8, 0x3F818000, 0x3F82), (np.inf, 0x7F800000, 0x7F80),
    (-np.inf, 0xFF800000, 0xFF80), (3.4028235e38, 0x7F800000, 0x7F80), (1e-45, 0, 0),
])  # fmt: skip
def test_numbers_are_rounded_as_the_instructions_say(value, tf32, bf16):
    assert tile_twins.to_tf32(np.float32(value)) == tf32
    assert tile_twins.pack_bf16(np.float32(value), np.float32(1)) == 0x3F800000 | bf16


def test_what_is_no_number_stays_none():
    nan = np.float32(np.nan)
    assert np.isnan(np.uint32(tile_twins.to_tf32(nan)).view(np.float32))
    assert np.isnan(np.uint32(tile_twins.pack_bf16(nan, nan) & 0xFFFF0000).view(np.float32))
