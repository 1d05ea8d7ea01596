"""Kernels compiled and linked for two generations of devices, on a machine that has none."""

import re

import pytest

from rnncore.cuda import target
from rnncore.cuda.drawing import drawing

if target.missing_to_compile():
    pytest.skip(str(target.missing_to_compile()), allow_module_level=True)

CAPABILITIES = [(8, 0), (9, 0)]
UNARY = ("neg", "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "softplus", "relu", "abs_")
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


def head(dtype):
    names = (*UNARY, *BINARY, *COMPARISONS, "where", "and_", "or_", "not_")
    return f"""
from rnncore.cuda.device import arrive_and_wait, block, blocks, entry, float32, float64, function, functions, int32
from rnncore.cuda.device import int64, load, shared, store, sync, thread, threads

F = functions("{dtype}")
{", ".join(names)} = {", ".join("F." + name for name in names)}
"""


def kernel(dtype, body, more=""):
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    start = f'@entry("{dtype}")\ndef kernel(tape, weights, memory, numbers, counters, chunk):'
    return f"{head(dtype)}{more}\n\n{start}\n{lines}"


def every_op(dtype):
    lines = ["i = block() * threads() + thread()", "a, b = load(tape, i), load(memory, i)"]
    lines += [f"a = {name}(a)" for name in UNARY] + [f"a = {name}(a, b)" for name in BINARY]
    lines += [f"a = where(or_(and_({name}(a, b), {name}(b, a)), not_({name}(a, a))), a, b)" for name in COMPARISONS]
    return kernel(dtype, "\n".join([*lines, "store(tape, i, add(a, b))"]))


STEPS = """
s, n = shared(float32), load(numbers, 0)
for t in range(n):
    store(s, thread(), load(tape, block() * threads() + thread()))
    sync()
    store(tape, n + block() * threads() + thread(), tanh(summed(s, threads())))
    arrive_and_wait(counters, 1, (t + 1) * blocks())
"""
SUMMED = """
@function
def summed(s, n):
    total = load(s, 0)
    for k in range(1, n):
        total = add(total, load(s, k))
    return total
"""


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_op_is_code_of_its_own_type_alone(dtype, capability):
    report = target.compiled(every_op(dtype), capability)
    assert f".target sm_{capability[0]}{capability[1]}" in report.ptx
    assert (report.float64_instructions > 0) == (dtype == "float64")
    assert report.spill_stores == report.spill_loads == 0 and report.registers > 8
    assert report.stack_bytes == 0 or dtype == "float64"  # sin and cos of large numbers
    assert report.cubin[:4] == b"\x7fELF" and report.ptx.count("\t.param .u64 ") == 5 * 7 + 1  # what a launch passes
    calls = set(re.findall(r"\bcall\.uni.*?\n\s*(\w+),", report.ptx))
    assert dtype == "float64" or not calls and not re.search(r"approx|\.ftz", report.ptx)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_barrier_of_blocks_releases_and_acquires(capability):
    ptx = target.compiled(kernel("float32", STEPS, SUMMED), capability).ptx
    waits = [line.strip() for line in ptx.splitlines() if re.search(r"\bbar\.|\bred\.|ld\.acquire", line)]
    kinds = [line.split()[0] for line in waits]
    assert kinds[:3] == ["bar.sync", "bar.sync", "red.release.gpu.global.add.u32"] and kinds[-1] == "bar.sync"
    assert set(kinds[3:-1]) == {"ld.acquire.gpu.global.u32"}
    assert "ld.shared.f32" in ptx and ".nc" not in ptx and ".volatile" not in ptx


def test_what_is_read_after_a_barrier_is_read_again():
    body = "a = load(tape, 0)\narrive_and_wait(counters, 0, 1)\nstore(tape, thread(), add(a, load(tape, 0)))"
    assert target.compiled(kernel("float32", body), (9, 0)).ptx.count("ld.global.f32") == 2


@pytest.mark.parametrize("body", [
    "store(tape, 0, 1.0)", "store(tape, 0, add(load(tape, 0), 1.0))", "store(tape, 0, load(numbers, 0))",
    "store(tape, 0, exp(float64(load(tape, 0))))",
])  # fmt: skip
def test_numbers_of_other_types_do_not_compile(body):
    with pytest.raises(Exception, match="No implementation of function|Unknown attribute|TypingError|Invalid use"):
        target.compiled(kernel("float32", body), (9, 0))


def test_float64_instructions_are_counted():
    body = "store(tape, 0, float32(float64(load(tape, 0)) * float64(load(tape, 1)) * float64(load(tape, 2))))"
    assert target.compiled(kernel("float32", body), (9, 0)).float64_instructions >= 1


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_class_is_drawn_in_numbers_of_one_type(capability):
    body = "draw(tape, 0, memory, 0, tape, 64, numbers[0])"
    report = target.compiled(kernel("float32", body, drawing("float32")), capability)
    assert report.float64_instructions == report.spill_stores == report.stack_bytes == 0


def test_spills_are_seen():
    names = [f"a{k}" for k in range(300)]
    lines = [f"{name} = load(tape, thread() + {k})" for k, name in enumerate(names)]
    lines += ["sync()"] + [f"store(tape, thread() * 7 + {k}, mul({name}, {name}))" for k, name in enumerate(names)]
    report = target.compiled(kernel("float32", "\n".join(lines)), (9, 0))
    assert report.spill_stores > 0 and report.spill_loads > 0


def test_approximations_are_for_those_who_ask():
    body = "store(tape, 0, softplus(sigmoid(tanh(exp(load(tape, 0))))))"
    plain = kernel("float32", body)
    fast = target.compiled(plain.replace('functions("float32")', 'functions("float32", fast=True)'), (9, 0)).ptx
    assert (
        len(re.findall(r"(?:tanh|ex2|lg2)\.approx", fast)) == 5 and "approx" not in target.compiled(plain, (9, 0)).ptx
    )


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("kind, form, cvt, bits", [
    ("tf32", "m16n8k8.row.col.f32.tf32.tf32.f32", "cvt.rna.tf32.f32", 32),
    ("bf16", "m16n8k16.row.col.f32.bf16.bf16.f32", "cvt.rn.bf16.f32", 16),
])  # fmt: skip
def test_tiles_are_products_of_tensor_cores(kind, form, cvt, bits, capability):
    """Five tiles of 8 columns for each of two of 16 rows; nothing is rounded on the way, and no product is behind a
    branch of its own."""
    body = f"tile_{kind}(True, 2, 5, tape, numbers[0], 64, 29, shared(float32), 0, 640, numbers[1], numbers[2], "
    body += f"shared(float32), 8192, 40)\nstore_{kind}(memory, thread(), load(weights, 0))"
    more = f"\nfrom rnncore.cuda.tiles import tile_{kind}\nfrom rnncore.cuda.device import store_{kind}\n"
    report = target.compiled(kernel("float32", body, more), capability)
    trips, rest = divmod(report.ptx.count(f"mma.sync.aligned.{form}"), 2 * 2 * 5)  # of loops, unrolled
    assert trips >= 3 and not rest and report.ptx.count(cvt) == 1
    assert report.ptx.count("ld.global.v4.u32") == 4 * trips and report.ptx.count("ld.shared.v4.u32") == 5 * trips
    assert report.ptx.count("st.shared.v2.f32") == 4 * 5
    assert re.search(rf"st\.global\.[ub]{bits}", report.ptx)
    assert report.spill_stores == report.float64_instructions == report.stack_bytes == 0 and report.registers <= 200


@pytest.mark.parametrize("dtype, many", [("float32", 5), ("float64", 10)])
def test_lanes_of_a_warp_exchange_numbers(dtype, many):
    body = f"store(tape, thread(), warp_sum(warp_max({dtype}(thread()))))"
    report = target.compiled(kernel(dtype, body, "\nfrom rnncore.cuda.device import warp_max, warp_sum\n"), (9, 0))
    assert report.ptx.count("shfl.sync.bfly.b32") == 2 * many


def test_four_numbers_are_read_at_once():
    body = """
acc = ((load(memory, 0), load(memory, 1)),)
acc = lane_terms4(acc, tape, (thread(),), thread(), weights, (thread(), chunk))
set_own_sums(tape, chunk, chunk, chunk, chunk, numbers[0], acc)
"""
    more = "\nfrom rnncore.cuda.device import lane_terms4, set_own_sums\n"
    for dtype, text, many in (("float32", "ld.global.v4.f32", 3), ("float64", "ld.global.v2.f64", 6)):
        ptx = target.compiled(kernel(dtype, body, more), (9, 0)).ptx
        assert ptx.count(text) == many and ptx.count(f"fma.rn.f{dtype[5:]}") == 8


@pytest.mark.parametrize("parts, many", [(1, 5), (4, 6), (16, 16), (32, 31)])
def test_several_sums_over_a_warp_take_no_more_exchanges_than_there_are_sums(parts, many):
    given = "".join(f"(load(memory, thread() + {k}),), " for k in range(parts))
    body = f"set_sums(thread() % 32, tape, 0, 8, 0, 1, 8, ({given}))"
    for dtype, words in (("float32", 1), ("float64", 2)):
        more = "\nfrom rnncore.cuda.device import set_sums\n"
        assert target.compiled(kernel(dtype, body, more), (8, 0)).ptx.count("shfl.sync.bfly") == many * words


def test_indices_are_divided_in_place_and_a_warp_knows_what_its_lanes_have_in_common():
    body = "k = portion(uniform(thread() // 32), chunk, numbers[1])"
    body += "\nstore(tape, quotient(k, numbers[0]), warp_sum(load(tape, k)))"
    more = "\nfrom rnncore.cuda.device import portion, quotient, uniform, warp_sum\n"
    for capability in CAPABILITIES:
        ptx = target.compiled(kernel("float32", body, more), capability).ptx
        assert len(re.findall(r"\bdiv\.u32", ptx)) == 3 and not re.search(r"\b(?:div|rem)\.[su]64|\bcall\b", ptx)
        assert ptx.count("shfl.sync.idx.b32") == 1
