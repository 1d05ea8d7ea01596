"""Kernels' texts become machine code that does what Python does with them, and what numba makes of them."""

import ctypes
import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import stress
from hypothesis import given
from hypothesis import strategies as st
from numba import cfunc

import rnncore as rn
from rnncore.cpu import loop
from rnncore.cpu.lanes import lanes, load_int, store_int
from rnncore.cpu.lower import lowered
from rnncore.cpu.store import load_module

COUNTS = '''
SEVEN = 7

def put(at, value):
    """What is put somewhere."""
    store_int(at, value)

def least_or_eight(a, b):
    if a < b:
        return a
    elif b < a:
        return b
    return 8

def counts(to, a, b, c):
    put(to, a + b - c * -3)
    put(to + 8, a // c if c != 0 else -1)
    put(to + 16, a % c if c else -1)
    store_int(to + 24, a // 8 + a % 8)
    store_int(to + 32, min(a, b, c) * SEVEN + max(b, c))
    first, second = b, a
    first, second = second, first
    store_int(to + 40, first - second)
    total = 0
    for i in range(a % 5, b % 11, 3):
        for j in range(b % 6, -2, -1):
            total += i * j
            if j == 2:
                total -= 1
            elif not j < 4:
                total += 100
            else:
                total = total + (a > b)
    store_int(to + 48, total)
    n, steps = max(a, -a) % 1000, 0
    while n > 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    store_int(to + 56, steps)
    store_int(to + 80, c != 0 and a // c > 3 and b > 0)
    store_int(to + 88, c == 0 or a // c > 3 or b > 0)
    if c < 0:
        return
    else:
        store_int(to + 64, 1)
    store_int(to + 72, least_or_eight(a, b) + least_or_eight(c, c) + least_or_eight(1, 0))
'''
HEAD = """from numba import cfunc
from rnncore.cpu.lanes import load_int, store_int
from rnncore.cpu.lower import lowered
"""
ENTRY = """
@cfunc("void(int64, int64, int64, int64)")
def entry(to, a, b, c):
    counts(to, a, b, c)
"""


def _python(*given):
    kept = [0] * 12
    scope = {"store_int": lambda at, value: kept.__setitem__(at // 8, int(value))}
    exec(COUNTS, scope)
    scope["counts"](0, *given)
    return kept


@pytest.fixture(scope="module")
def native():
    text = HEAD + COUNTS.replace("\ndef ", "\n@lowered\ndef ") + ENTRY
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(load_module(text).entry.address)

    def run(*given):
        kept = np.zeros(12, np.int64)
        call(kept.ctypes.data, *given)
        return kept.tolist()

    return run


integers = st.integers(-(2**40), 2**40) | st.integers(-20, 20)


@given(integers, integers, st.integers(-30, 30))
def test_integers_are_pythons(native, a, b, c):
    """Divisions round down, loops end where Python's end, and the arm of a condition that is not taken is not run."""
    assert native(a, b, c) == _python(a, b, c)


NUMBERS = """
LARGE = float("inf")

def several(a: float, n) -> (float, int, float):
    if a > 2.5:
        return a * n, n, a / 4
    return -a, n - 1, n

def share(a: float, b: float) -> float:
    return a / (a + b) if a > 0 else 1.0

def numbers(to, a, n):
    x, y = load_one(a), load_one(a + 8)
    most, place, part = several(x, n)
    store_one(to, most)
    store_one(to + 8, place)
    store_one(to + 16, part - several(y, 3)[0])
    store_one(to + 24, min(x, y) - max(y, 2.0 * x))
    store_one(to + 32, 2 * (x < y) + (x != x) + (not finite(y)))
    total = -LARGE
    while total < x and n > 0:
        total = share(x, n) + n
        n -= 1
    store_one(to + 40, total)

def finite(v: float):
    return v - v == 0
"""
NUMBERS_ENTRY = """
@cfunc("void(int64, int64, int64)", error_model="numpy")
def entry(to, a, n):
    numbers(to, a, n)
"""


def test_numbers_are_pythons():
    text = (
        "from rnncore.cpu.lanes import lanes\nF = lanes('float64', 1)\nload_one, store_one = F.load_one, F.store_one\n"
    )
    text = HEAD + text + NUMBERS.replace("\ndef ", "\n@lowered\ndef ") + NUMBERS_ENTRY
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(load_module(text).entry.address)
    for x in (3.0, 2.5, -1.25, np.nan, np.inf):
        for y, n in ((0.5, 3), (np.inf, 0), (-7.0, 2), (np.nan, 5)):
            given, theirs, ours = np.array([x, y]), [0.0] * 6, np.zeros(6)
            scope = {
                "load_one": lambda at, given=given: given[at // 8],
                "store_one": lambda at, value, theirs=theirs: theirs.__setitem__(at // 8, float(value)),
            }
            exec(NUMBERS, scope)
            with np.errstate(all="ignore"):
                scope["numbers"](0, 0, n)
            call(ours.ctypes.data, given.ctypes.data, n)
            assert np.array_equal(ours, theirs, equal_nan=True), (x, y, n)


WRONG = {
    "no_list": ("store_int(to, [1])", "List"),
    "no_break": ("while to:\n        break", "Break"),
    "no_float_as_integer": ("store_int(to, 1.5)", "1.5 is float64, not an integer"),
    "no_text": ("store_int(to, 'a')", "neither a variable nor a number"),
    "no_power": ("store_int(to, to ** 2)", "to ** 2"),
    "no_other_loop": ("for i in to:\n        store_int(to, 1)", "range"),
    "no_unknown_name": ("store_int(to, other)", "other"),
    "no_unknown_function": ("print(to)", "print"),
    "no_result_but_integers": ("return load(to)", "not an integer"),
    "no_second_type": ("v = load(to)\n    v = 1", "v is"),
    "no_vector_as_count": ("store_int(to, load(to) + 1)", "not an integer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_of_the_language_is_told(name, tmp_path):
    statement, words = WRONG[name]
    path = tmp_path / f"{name}.py"
    path.write_text(f"def wrong(to):\n    {statement}\n")
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    vars(module).update(store_int=store_int, load_int=load_int, load=lanes("float32", 4).load)
    try:
        spec.loader.exec_module(module)
        wrong = lowered(module.wrong)
        with pytest.raises(SyntaxError, match=words.replace("*", r"\*")):
            cfunc("void(int64)")(_calling(wrong))
    finally:
        del sys.modules[name]


def _calling(wrong):
    def entry(to):
        wrong(to)

    return entry


def test_numba_makes_the_same_of_a_kernels_text(monkeypatch):
    """Numba infers what is written here straight down: their kernels compute the same bits."""
    net = rn.Network(stress.gated(5), inputs=3)
    params = net.init(seed=1, dtype="float64")
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((4, 7, 3)), [7, 0, 3, 5]

    def results():
        y, state = net(params, x, lengths=lengths)
        return np.concatenate([y.ravel(), state["h"].ravel()])

    ours = results()
    numbas = '@njit(error_model="numpy", fastmath={"contract", "nsz"}, inline="never")\n'
    made = []

    def by_numba(text):
        text = text.replace("from numba import cfunc", "from numba import cfunc, njit").replace("@lowered\n", numbas)
        made.append({})
        exec(text, made[-1])
        return SimpleNamespace(entry=made[-1]["entry"])

    monkeypatch.setattr(loop, "load_module", by_numba)
    monkeypatch.setattr(loop, "_compiled", {})
    theirs = results()
    assert len(made) == 1
    assert np.array_equal(ours, theirs)
