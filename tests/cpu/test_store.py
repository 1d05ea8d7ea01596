"""Kernels on disk: written whole, verified before they are opened, and never a wrong result."""

import ast
import ctypes
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import folders
from rnncore.cpu import loop, store
from rnncore.cpu.native import compile_text

TEXT = """\
from numba import cfunc


@cfunc("int64(int64)")
def kernel(a):
    return 3 * a + 1
"""


def run(module, a):
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(module.kernel.address)(a)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """An empty cache folder, and nothing loaded in this process; gives a function that loads anew."""
    monkeypatch.setenv("RNNCORE_CACHE_DIR", str(tmp_path / "kernels"))
    calls = []
    monkeypatch.setattr(store, "compile_text", lambda *given: calls.append(given) or compile_text(*given))

    def load(text=TEXT):
        monkeypatch.setattr(store, "_loaded", {})
        before = len(calls)
        module = store.load_module(text)
        assert run(module, 4) == 13
        module.compiled = len(calls) > before
        return module

    return load


def compiled(module):
    """Whether numba compiled the kernel, rather than reading it from its file."""
    return module.compiled


def only_folder():
    (folder,) = [p for p in store.cache_folder().iterdir() if not p.name.startswith("new-")]
    return folder


def test_a_kernel_is_compiled_once_and_then_read(fresh):
    assert compiled(fresh()) and not compiled(fresh())
    assert folders.verified(only_folder()) and not list(store.cache_folder().glob("new-*"))


def test_it_stays_in_memory_and_leaves_no_module(fresh):
    module = fresh()
    assert store.load_module(TEXT) is module
    assert not [name for name in sys.modules if name.startswith("rnncore_kernel_")]


def test_kernels_that_are_on_disk_need_no_numba():
    """A training step, one of a stream, and what draws: in the cache of all tests, which the first process fills."""
    code = """
        import sys
        import numpy as np, rnncore as rn
        net = rn.Network(rn.cells.vanilla(5), inputs=rn.Tokens(3), outputs=3)
        params = net.init()
        net.loss_and_grad(params, [[0, 1]], [[1, 2]], loss="cross_entropy")
        net.stream(params).step([0])
        rn.generate(net, params, [[0]], steps=2, temperature=1.0, seed=0)
        print("numba" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout == "False\n"


def test_another_text_is_another_kernel(fresh):
    fresh()
    assert compiled(fresh(TEXT.replace("3 * a + 1", "2 * a + 5")))
    assert len(list(store.cache_folder().iterdir())) == 2


FILES = ("kernel.py", "SUMS", "kernel.o", "symbols.json")


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove"])
@pytest.mark.parametrize("pattern", FILES)
def test_a_damaged_file_is_compiled_anew_and_mended(pattern, damage, fresh):
    fresh()
    (path,) = only_folder().rglob(pattern)
    data = path.read_bytes()
    middle = len(data) // 2
    if damage == "remove":
        path.unlink()
    else:
        flipped = data[:middle] + bytes(b ^ 255 for b in data[middle : middle + 4]) + data[middle + 4 :]
        path.write_bytes({"flip": flipped, "truncate": data[:middle], "empty": b""}[damage])
    assert compiled(fresh()) and not compiled(fresh())


def test_a_text_that_was_exchanged_is_never_run(fresh, tmp_path):
    fresh()
    flag = tmp_path / "run"
    (only_folder() / "kernel.py").write_text(f"open({str(flag)!r}, 'w')\n{TEXT}")
    assert compiled(fresh()) and not flag.exists()


def test_a_file_that_was_added_is_not_trusted(fresh):
    fresh()
    (only_folder() / "more.py").write_text("")
    assert compiled(fresh())


def test_a_file_in_place_of_the_cache_folder(tmp_path, fresh):
    (tmp_path / "kernels").write_text("")
    assert compiled(fresh())


def test_a_cache_folder_that_others_can_write_to_is_not_used(fresh, tmp_path):
    fresh()
    os.chmod(tmp_path / "kernels", 0o777)
    before = list((tmp_path / "kernels").iterdir())
    assert compiled(fresh(TEXT + "\n"))
    assert list((tmp_path / "kernels").iterdir()) == before


def test_a_kernel_that_others_can_write_to_is_not_used(fresh):
    fresh()
    os.chmod(only_folder(), 0o777)
    assert compiled(fresh())


def test_a_folder_that_can_only_be_read_serves(fresh, monkeypatch):
    fresh()
    monkeypatch.setattr(folders, "usable_root", lambda: None)  # the superuser can write everywhere
    before = sorted(p.name for p in only_folder().rglob("*"))
    assert not compiled(fresh())
    assert compiled(fresh(TEXT + "\n"))
    assert sorted(p.name for p in only_folder().rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser can write everywhere")
def test_a_folder_without_permission_to_write(fresh, tmp_path):
    (tmp_path / "kernels").mkdir(mode=0o500)
    assert compiled(fresh())


def test_what_killed_processes_left_is_swept_after_an_hour(fresh, tmp_path):
    old, young = tmp_path / "kernels" / "new-old", tmp_path / "kernels" / "new-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    (tmp_path / "kernels").chmod(0o700)
    os.utime(old, (0, 0))
    fresh()
    assert young.exists() and not old.exists()


def test_what_another_process_swept_first_stops_nobody(tmp_path):
    for k in range(5):
        (tmp_path / f"new-{k}-gone").symlink_to(tmp_path / "nowhere")
        (tmp_path / f"new-{k}-old").mkdir()
        os.utime(tmp_path / f"new-{k}-old", (0, 0))
    folders.sweep(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith("old")]


def test_a_folder_in_which_nothing_can_be_written_is_of_no_use(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNCORE_CACHE_DIR", str(tmp_path))
    assert folders.usable_root() == tmp_path

    def full(**given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    assert folders.usable_root() is None


def test_four_processes_at_once_on_an_empty_folder(tmp_path):
    code = f"""
        import sys
        from rnncore.cpu import store
        sys.stdin.readline()
        print([store.load_module({TEXT!r} + "#" * k).kernel.address > 0 for k in range(3)])
    """
    env = os.environ | {"RNNCORE_CACHE_DIR": str(tmp_path / "kernels")}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) for _ in range(4)
    ]
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [p.communicate(timeout=120)[0] for p in running] == ["[True, True, True]\n"] * 4
    left = list((tmp_path / "kernels").iterdir())
    assert len(left) == 3 and all(folders.verified(folder) for folder in left)


NETWORK = """
    import json, sys
    from numba.core import compiler
    count, compile_extra = [0], compiler.compile_extra

    def counted(*args, **kwargs):
        count[0] += 1
        return compile_extra(*args, **kwargs)

    compiler.compile_extra = counted
    import numpy as np, rnncore as rn
    from rnncore.lang import cell, tanh
    net = rn.Network(cell(lambda w, x, h: tanh(w.h(x, h)))(5), inputs=3)
    params = net.init()
    y, _, tape = net.forward(params, np.ones((2, 4, 3)))
    grads = net.backward(params, tape, y)[2]
    print(json.dumps([count[0], float(y.sum()), float(grads.flat.sum())]))
"""


def run_network(folder):
    env = os.environ | {"RNNCORE_CACHE_DIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(NETWORK)], env=env, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_second_process_compiles_nothing_and_a_third_mends_what_was_damaged(tmp_path):
    folder = tmp_path / "kernels"
    first, *values = run_network(folder)
    assert first > 0 and run_network(folder) == [0, *values]
    kernels = [f for f in folder.iterdir() if "def gemm(" not in (f / "kernel.py").read_text()]
    for path in (p for f in kernels for p in f.glob("*.o")):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    third, *same = run_network(folder)
    assert 0 < third < first and same == values
    assert run_network(folder) == [0, *values]


def test_the_hash_covers_every_source_that_kernels_import():
    here = Path(store.__file__).parent
    texts = [rn.explain(stress.gated(3), what="source")]
    from rnncore.cpu.library import library_text
    from rnncore.cpu.machine import host

    texts.append(library_text("float32", host()))
    found, waiting = set(), []
    for text in texts:
        waiting += [line.split()[1].split(".")[-1] for line in text.split("\n") if line.startswith("from rnncore.cpu.")]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.walk(ast.parse((here / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                modules = [node.module] if node.module else [alias.name for alias in node.names]
                waiting += ["../" * (node.level - 1) + module for module in modules]
    assert {f"{name}.py" for name in found} | {"native.py"} == set(store._SOURCES)


def test_a_kernel_depends_on_versions_and_on_the_processor(monkeypatch):
    before = store._key(TEXT)
    monkeypatch.setattr(store, "_environment", lambda: "another machine")
    assert store._key(TEXT) != before


def test_a_kernel_depends_on_numbas_flags(monkeypatch):
    before = store._environment()
    monkeypatch.setenv("NUMBA_OPT", "1")
    assert store._environment.__wrapped__() != before


def test_cells_of_one_structure_share_one_kernel():
    from rnncore.lang import cell, sigmoid, tanh

    @cell
    def renamed(w, x, h):
        update = sigmoid(w.z(x, h))
        reset = sigmoid(w.r(x, h))
        new = tanh(w.n(x, h=reset * h))
        return (1 - update) * h + update * new

    for which in ("infer", "forward", "backward"):
        a, b = (loop.compiled(c.step(), which, "float64") for c in (renamed, stress.gated))
        assert a.kernel.text == b.kernel.text and a.run is b.run


def test_numbers_in_equations_and_sizes_are_no_part_of_the_text():
    for which in ("infer", "forward", "backward"):
        a, b = (loop.compiled(stress.cornn.step(dt=dt), which, "float64") for dt in (0.042, 0.3))
        assert a.kernel.text == b.kernel.text
    net = rn.Network(stress.cornn(3, dt=0.3), inputs=2)
    y, _, tape = net.forward(p := net.init(dtype="float64"), np.ones((2, 3, 2)))
    net.backward(p, tape, y)
    before = len(store._loaded)
    for units, batch, time in [(1, 1, 1), (40, 3, 70), (17, 33, 2)]:
        net = rn.Network(stress.cornn(units), inputs=units)
        params = net.init(dtype="float64")
        y, _, tape = net.forward(params, np.ones((batch, time, units)))
        net.backward(params, tape, y)
    assert len(store._loaded) == before


def test_the_folder_is_the_users_unless_told(monkeypatch, tmp_path):
    monkeypatch.delenv("RNNCORE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.cache_folder() == tmp_path / "rnncore" / "kernels"
    monkeypatch.setenv("RNNCORE_CACHE_DIR", str(tmp_path / "other"))
    assert store.cache_folder() == tmp_path / "other"
