"""Texts of kernels where kernels run: on a GPU if this machine has one, else in the simulator; the same tests."""

import numpy as np
import pytest

from rnncore.cuda import target
from rnncore.cuda.copies import in_block
from rnncore.cuda.space import put, xp
from rnncore.lang.ops import OPS

WARP, MANY = target.properties().warp, min(target.properties().threads, 64)
RENAMED = {"and": "and_", "or": "or_", "not": "not_", "abs": "abs_"}
POINTWISE = {name: row for name, row in OPS.items() if row.pointwise and name not in ("stop", "spread", "eye")}


def launched(
    body, dtype="float32", blocks=1, threads=MANY, tape=(), weights=(0,), numbers=(0,), shared_bytes=0, more=""
):
    """The tape after a launch."""
    names = "WARP, arrive_and_wait, block, blocks, entry, float32, float64, functions, load, shared, store"
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    text = (
        f"from rnncore.cuda.device import {names}\n"
        f"from rnncore.cuda.device import sync, thread, threads, warp_max, warp_sum\n{more}\n"
        f'F = functions("{dtype}")\n\n'
        f'@entry("{dtype}")\ndef kernel(tape, weights, memory, numbers, counters, chunk):\n{lines}'
    )
    given = [put(np.array(values, dtype)) for values in (tape, weights, [0])]
    given += [put(np.array(numbers, np.int64)), put(np.zeros(4, np.int32)), 3]
    target.load(text).launch(blocks, MANY, shared_bytes, given, blocks > 1)
    return xp.asnumpy(given[0])


def shared_out(many, line):
    return f"i = block() * threads() + thread()\nwhile i < {many}:\n    {line}\n    i += blocks() * threads()"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", POINTWISE)
def test_an_op_gives_what_the_language_says(name, dtype):
    row = POINTWISE[name]
    values = np.array([0.0, 1.5, -2.0, 0.3, 40.0, -40.0, 200.0, np.inf, -np.inf, np.nan], dtype)
    columns = [grid.ravel() for grid in np.meshgrid(*[values] * row.arity)]
    n = columns[0].size
    taken = [f"load(weights, i + {k * n})" for k in range(row.arity)]
    taken = [f"F.gt({a}, load(weights, {row.arity * n}))" if k < row.conditions else a for k, a in enumerate(taken)]
    call = f"op({', '.join(taken)})"
    if row.boolean:
        call = f"F.where({call}, load(weights, {row.arity * n + 1}), load(weights, {row.arity * n}))"
    text = shared_out(n, f"store(tape, i, {call})").replace("F.gt", "gt").replace("F.where", "where")
    more = f'op, gt, where = [vars(functions("{dtype}"))[k] for k in ("{RENAMED.get(name, name)}", "gt", "where")]'
    got = launched(text, dtype, 2, tape=np.zeros(n), weights=[*np.concatenate(columns), 0, 1], more=more)
    with np.errstate(all="ignore"):
        want = row.numpy(*[c > 0 if k < row.conditions else c for k, c in enumerate(columns)]).astype(dtype)
    np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).smallest_subnormal)


def test_blocks_meet_at_every_step():
    """Each block adds up, at each step, what all blocks wrote in the step before."""
    body = """
t = 0
while t < numbers[0]:
    total = float32(0)
    k = 0
    while k < blocks() * threads():
        total += load(tape, (t % 2) * numbers[1] + k)
        k += 1
    value = total / float32(blocks() * threads()) + float32(thread())
    store(tape, (1 - t % 2) * numbers[1] + block() * threads() + thread(), value)
    t += 1
    arrive_and_wait(counters, 2, t * blocks())
"""
    blocks, steps = min(target.properties().multiprocessors, 8), 20
    n = blocks * MANY
    got = launched(body, blocks=blocks, tape=np.zeros(2 * n), numbers=[steps, n])
    want = np.arange(n) % MANY + (steps - 1) * (MANY - 1) / 2
    np.testing.assert_allclose(got.reshape(2, n)[steps % 2], want, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lanes_of_a_warp_add_up_and_find_the_largest(dtype):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(MANY)
    values[MANY - 1] = np.nan
    body = (
        "v, i = load(weights, thread()), thread()\nstore(tape, i, warp_sum(v))\nstore(tape, i + threads(), warp_max(v))"
    )
    got = launched(body, dtype, tape=np.zeros(2 * MANY), weights=values).reshape(2, -1, WARP)
    groups = values.astype(dtype).reshape(-1, WARP)
    np.testing.assert_allclose(got[0], np.repeat(groups.sum(1), WARP).reshape(got[0].shape), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got[1], np.repeat(groups.max(1), WARP).reshape(got[1].shape))
    assert (got[:, :-1] == got[:, :-1, :1]).all()  # the same bits in every lane


@pytest.mark.parametrize("many", [1, 2, 4, 8, 16, 32])
def test_several_sums_over_a_warp_go_where_their_rows_and_columns_are(many):
    """The last row is not there, and each warp has memory of its own."""
    wide = min(many, 4)
    high = many // wide
    values = np.random.default_rng(many).standard_normal((MANY, many)).astype(np.float32)
    part = "load(weights, thread() * {many} + {k}), ".format
    parts = "".join(f"({''.join(part(many=many, k=i * wide + j) for j in range(wide))}), " for i in range(high))
    rows = f"numbers[0], 2, numbers[0] + 2 * ({high} - numbers[1])"  # the first, the step, the end
    body = f"set_sums(thread() % WARP, tape, thread() // WARP * 64, 6, {rows}, ({parts}))"
    more = "from rnncore.cuda.device import set_sums"
    for missing in {0, min(1, high - 1)}:
        untouched = np.full(MANY // WARP * 64, -9.0)
        got = launched(body, tape=untouched, weights=values.ravel(), numbers=[3, missing], more=more).reshape(-1, 64)
        sums = values.astype(np.float64).reshape(-1, WARP, high, wide).sum(1)[:, : high - missing]
        want = untouched.reshape(-1, 64)
        for row in range(high - missing):
            want[:, 6 * row : 6 * row + wide] = sums[:, row]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("high, wide", [(1, 1), (1, 4), (2, 3), (4, 4), (2, 6)])
@pytest.mark.parametrize("how", ["terms4", "term", "lane_terms4", "lane_term"])
def test_terms_are_added_to_sums_of_rows_and_columns(how, high, wide, dtype):
    """Of small whole numbers, and so of no rounding; the last row is not there."""
    many, pad, k = 4 if "4" in how else 1, (wide + 3) // 4 * 4, 4
    rng = np.random.default_rng(high * wide)
    rows, weights = rng.integers(-9, 9, (high, 16)), rng.integers(-9, 9, (8, pad) if how[0] == "t" else (wide, 16))
    tuple_of = "({},)".format
    starts = tuple_of(", ".join(f"numbers[0] + {16 * i}" for i in range(high)))
    ends = tuple_of(", ".join(f"numbers[0] + {16 * j}" for j in range(wide)))
    where = f"numbers[0], {pad} * numbers[1]" if how[0] == "t" else ends
    column = tuple_of(", ".join(["load(memory, 0)"] * wide))
    body = f"""
acc = {tuple_of(", ".join([column] * high))}
acc = {how}(acc, tape, {starts}, {k} * numbers[1], weights, {where})
set_own_sums(tape, 64 + 128 * thread(), 8 * numbers[1], numbers[0], 2 * numbers[1], {2 * high - 1} * numbers[1], acc)
"""
    tape = np.full(64 + 128 * MANY, 7.0)
    tape[: rows.size] = rows.ravel()
    more = f"from rnncore.cuda.device import {how}, set_own_sums"
    got = launched(body, dtype, tape=tape, weights=weights.ravel(), numbers=[0, 1], more=more)[64:].reshape(MANY, 16, 8)
    terms = weights[k : k + many] if how[0] == "t" else weights[:, k : k + many].T
    want = np.full((16, 8), 7.0)
    want[:high, :wide] = rows[:, k : k + many] @ terms[:, :wide]
    np.testing.assert_array_equal(got, np.broadcast_to(want, got.shape))


def test_a_product_and_its_sum_are_rounded_once():
    a, b, c = np.random.default_rng(0).standard_normal((3, MANY)).astype(np.float32)
    body = """
acc = ((load(tape, thread()),),)
acc = term(acc, weights, (thread(),), 0 * thread(), weights, threads() + thread(), thread())
store(tape, thread(), acc[0][0])
"""
    got = launched(body, tape=c, weights=np.append(a, b), more="from rnncore.cuda.device import term")
    np.testing.assert_array_equal(got, (a.astype(np.float64) * b + c).astype(np.float32))


def test_much_shared_memory():
    size = target.properties().shared_bytes // 4
    body = f"{shared_out(size, 'store(shared(float32), i, float32(i))')}\nsync()\n"
    body += "if thread() == 0:\n    store(tape, 0, load(shared(float32), numbers[0]))"
    assert launched(body, tape=[0], numbers=[size - 1], shared_bytes=4 * size) == [size - 1]


@pytest.mark.parametrize("kind, bits", [("tf32", 11), ("bf16", 8)])
def test_a_tile_on_tensor_cores(kind, bits):
    """Operands that are exact in the narrow type: sums are exact but for their own rounding."""
    rng = np.random.default_rng(0)
    rows, columns, many = 13, 24, in_block(kind)
    x, w = (rng.integers(-(2 ** (bits - 2)), 2 ** (bits - 2), (n, 2 * many)) / 16 for n in (16, columns))
    body = f"""
{shared_out(32 * many, f"store_{kind}(tape, i, load(weights, i))")}
{shared_out(2 * columns * many, f"store_{kind}(tape, {32 * many} + i, load(weights, {32 * many} + i))")}
sync()
if thread() < WARP:
    tile_{kind}(False, 4, 3, tape, 0, 512, {rows}, tape, 512, 256, 0, 2, shared(float32), 0, 32)
sync()
{shared_out(rows * columns, f"store(tape, 2048 + i, load(shared(float32), i // {columns} * 32 + i % {columns}))")}
"""
    blocks = [m.reshape(-1, n, 2, many).transpose(0, 2, 1, 3).ravel() for m, n in ((x, 16), (w, 8))]
    more = f"from rnncore.cuda.device import store_{kind}\nfrom rnncore.cuda.tiles import tile_{kind}"
    tape, weights = np.zeros(2048 + rows * columns), np.concatenate(blocks)
    got = launched(body, tape=tape, weights=weights, shared_bytes=2048, more=more)
    np.testing.assert_allclose(got[2048:].reshape(rows, columns), x[:rows] @ w.T, rtol=1e-5, atol=1e-3)
