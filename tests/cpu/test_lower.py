"""Kernels' texts become machine code that does what Python does with them, and what numba makes of them."""

import ctypes
import importlib.util
import sys

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
    if c < 0:
        return
    else:
        store_int(to + 64, 1)
    store_int(to + 72, 2)
'''
HEAD = """from numba import cfunc
from rnncore.cpu.lanes import load_int, store_int
from rnncore.cpu.lower import lowered
"""
ENTRY = """
@cfunc("void(int64, int64, int64, int64)", cache=True)
def entry(to, a, b, c):
    counts(to, a, b, c)
"""


def _python(*given):
    kept = [0] * 10
    scope = {"store_int": lambda at, value: kept.__setitem__(at // 8, int(value))}
    exec(COUNTS, scope)
    scope["counts"](0, *given)
    return kept


@pytest.fixture(scope="module")
def native():
    text = HEAD + COUNTS.replace("\ndef ", "\n@lowered\ndef ") + ENTRY
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(load_module(text).entry.address)

    def run(*given):
        kept = np.zeros(10, np.int64)
        call(kept.ctypes.data, *given)
        return kept.tolist()

    return run


integers = st.integers(-(2**40), 2**40) | st.integers(-20, 20)


@given(integers, integers, st.integers(-30, 30))
def test_integers_are_pythons(native, a, b, c):
    """Divisions round down, loops end where Python's end, and the arm of a condition that is not taken is not run."""
    assert native(a, b, c) == _python(a, b, c)


WRONG = {
    "no_list": ("store_int(to, [1])", "List"),
    "no_break": ("while to:\n        break", "Break"),
    "no_float": ("store_int(to, 1.5)", "1.5 is no integer"),
    "no_power": ("store_int(to, to ** 2)", "to ** 2"),
    "no_other_loop": ("for i in to:\n        store_int(to, 1)", "range"),
    "no_unknown_name": ("store_int(to, other)", "other"),
    "no_unknown_function": ("print(to)", "print"),
    "no_result": ("return to", "returns nothing"),
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
        y, state, tape = net.forward(params, x, lengths=lengths)
        dx, _, grads = net.backward(params, tape, np.ones_like(y))
        return np.concatenate([y.ravel(), dx.ravel(), grads.flat])

    ours = results()
    numbas = '@njit(error_model="numpy", fastmath={"contract", "nsz"}, inline="never")\n'
    changed = []

    def by_numba(text):
        text = text.replace("from numba import cfunc", "from numba import cfunc, njit").replace("@lowered\n", numbas)
        changed.append(numbas in text)
        return load_module(text)

    monkeypatch.setattr(loop, "load_module", by_numba)
    monkeypatch.setattr(loop, "_compiled", {})
    theirs = results()
    assert changed == [True, True]
    assert np.array_equal(ours, theirs)
