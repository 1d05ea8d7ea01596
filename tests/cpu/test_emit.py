"""Kernel texts: the same in every process, complete, and readable where they are to be read."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.cpu.emit import emit
from rnncore.lang import cell, tanh
from rnncore.plan.kernels import plan_of

WHICH = ("infer", "forward", "backward")

TEXTS = f"""
import hashlib, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("stress", {str(Path(stress.__file__))!r})
stress = sys.modules["stress"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stress)
from rnncore.cpu.emit import emit
from rnncore.plan.kernels import plan_of
text = "".join(
    emit(plan_of(c.step(), which), dtype, count).text
    for c in stress.CELLS.values() for which in {WHICH!r} for dtype, count in (("float32", 16), ("float64", 4))
)
fingerprints = [c.step().fingerprint for c in stress.CELLS.values()]
print(json.dumps([hashlib.sha256(text.encode()).hexdigest(), fingerprints]))
"""


def test_texts_and_hashes_are_the_same_in_every_process():
    """Nothing may depend on the order of a set, which changes from process to process."""
    found = []
    for seed in ("1", "2", "3"):
        env = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", TEXTS], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1] == found[2]
    assert found[0][1] == [c.step().fingerprint for c in stress.CELLS.values()]


@pytest.mark.parametrize("name", stress.CELLS)
def test_a_kernel_is_python_whose_tables_have_no_name_twice(name):
    for which in WHICH:
        kernel = emit(plan_of(stress.CELLS[name].step(), which), "float32", 8)
        compile(kernel.text, name, "exec")
        for table in (kernel.pointers, kernel.sizes):
            assert len(set(table)) == len(table)
        assert max(map(len, kernel.text.split("\n"))) < 400


def test_the_width_of_vectors_and_the_precision_are_in_the_text():
    plan = plan_of(stress.simple.step(), "forward")
    texts = {emit(plan, dtype, count).text for dtype in ("float32", "float64") for count in (4, 8)}
    assert len(texts) == 4


def test_the_pretty_text_has_the_authors_names_and_lines_and_the_other_none():
    plan = plan_of(stress.gated.step(), "forward")
    pretty, plain = emit(plan, "float32", 8, pretty=True).text, emit(plan, "float32", 8).text
    assert "z = sigmoid(" in pretty and "# stress.py:" in pretty
    backward = emit(plan_of(stress.gated.step(), "backward"), "float32", 8, pretty=True).text
    assert "z = load(" in backward and "n = load(" in backward and "dh = load(" in backward
    assert "# stress.py" not in plain and "z = sigmoid" not in plain


def test_names_of_an_author_do_not_hide_those_of_the_text():
    @cell
    def careless(w, x, h):
        load = w.p(x, h)
        store = tanh(load)
        s = store * load
        k = s + 0.5 * load
        rows = tanh(k)
        at0 = rows * k
        return tanh(at0 + s)

    pretty = emit(plan_of(careless.step(), "forward"), "float64", 8, pretty=True).text
    compile(pretty, "careless", "exec")
    for line in pretty.split("def kernel")[1].split("\n"):
        assert line.split("=")[0].strip() not in ("load", "store", "s", "k", "p")


def test_threads_that_need_a_new_kernel_at_once_share_it():
    @cell
    def fresh(w, x, h):
        return tanh(w.h(x, h)) * 0.25 + tanh(h) * 0.125

    net = rn.Network(fresh(3), inputs=2)
    params, x = net.init(), np.ones((2, 3, 2))
    barrier, results = threading.Barrier(4), [None] * 4

    def work(k):
        barrier.wait(20)
        results[k] = net(params, x)[0]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert all(np.array_equal(r, results[0]) for r in results)
