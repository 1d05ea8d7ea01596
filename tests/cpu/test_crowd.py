"""Many processes on one cache of kernels, whatever state it is in, and processes that are killed at their worst."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from rnncore import folders
from rnncore.cpu import store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits of this test are Linux's")
TEXT = """\
from numba import cfunc


@cfunc("int64(int64)")
def kernel(a):
    return 3 * a + 1
"""
TEXTS = [f"{TEXT}# {k}\n" for k in range(8)]
WORK = f"""
    import ctypes, json, sys
    from rnncore.cpu import store

    made, compile_text = [], store.compile_text
    store.compile_text = lambda *given: made.append(given) or compile_text(*given)
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    store._key("")
    sys.stdin.readline()
    found = [call(store.load_module(text).kernel.address)(4) for text in {TEXTS!r}]
    print(json.dumps([found, len(made)]))
"""


def processes(folder, many, before=None):
    """Start `many` processes that load all kernels at one time; the number of kernels that each of them compiled."""
    command, env = [sys.executable, "-c", textwrap.dedent(WORK)], os.environ | {"RNNCORE_CACHE_DIR": str(folder)}
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env, preexec_fn=before) for _ in range(many)
    ]
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert [found for found, _ in answers] == [[13] * len(TEXTS)] * many
    return [compiled for _, compiled in answers]


def state(folder):
    return {str(p.relative_to(folder)): p.is_file() and p.read_bytes() for p in folder.rglob("*")}


def whole(folder):
    """Every kernel is there, as it was written, and nothing else but what was found to be damaged."""
    kept = [p for p in folder.iterdir() if not p.name.startswith("new-bad-")]
    return len(kept) == len(TEXTS) and all(folders.verified(p) for p in kept)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm") / "kernels"
    assert processes(folder, 1) == [len(TEXTS)]
    return folder


@pytest.fixture
def folder(warm, tmp_path):
    """A copy of a cache with all kernels."""
    shutil.copytree(warm, tmp_path / "kernels")
    (tmp_path / "kernels").chmod(0o700)
    return tmp_path / "kernels"


def test_a_cold_cache(tmp_path):
    processes(tmp_path / "kernels", 6)
    assert whole(tmp_path / "kernels")
    assert processes(tmp_path / "kernels", 1) == [0]


def damage(kernels):
    """Each kernel's folder in a way of its own."""
    for k, kernel in enumerate(kernels):
        victim = kernel / ("kernel.py", "kernel.o", "symbols.json", "SUMS")[k % 4]
        data = bytearray(victim.read_bytes())
        if k < 4:
            data[len(data) // 2] ^= 4
            victim.write_bytes(data)
        elif k == 4:
            victim.write_bytes(data[: len(data) // 2])
        elif k == 5:
            victim.write_bytes(b"")
        elif k == 6:
            victim.unlink()
        else:
            shutil.rmtree(kernel)
            kernel.write_text("no folder")


def test_a_damaged_cache(folder):
    damage(sorted(folder.iterdir()))
    processes(folder, 4)
    assert whole(folder)
    assert processes(folder, 1) == [0]
    for bad in folder.glob("new-bad-*"):
        os.utime(bad, (0, 0))
    folders.sweep(folder)
    assert sorted(folder.iterdir()) == sorted(p for p in folder.iterdir() if folders.verified(p))


def no_more_superuser():
    """The superuser, too, must ask before it writes: CAP_DAC_OVERRIDE is dropped with the next program."""
    import ctypes

    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


@pytest.mark.parametrize("content", ["warm", "damaged", "cold"])
def test_a_cache_that_can_only_be_read(content, folder):
    kernels = sorted(folder.iterdir())
    if content == "damaged":
        damage(kernels)
    for kernel in kernels:
        if content == "cold":
            shutil.rmtree(kernel)
    folder.chmod(0o500)
    touch = ["touch", str(folder / "file")]
    if subprocess.run(touch, preexec_fn=no_more_superuser, capture_output=True).returncode == 0:
        pytest.skip("this user can write everywhere")
    before = state(folder)
    assert processes(folder, 3, no_more_superuser) == [0 if content == "warm" else len(TEXTS)] * 3
    assert state(folder) == before
    folder.chmod(0o700)


def test_a_full_disk(tmp_path):
    """No file can be longer than a kernel's text: writing its object code fails."""
    (tmp_path / "kernels").mkdir(mode=0o700)
    most = len(TEXTS[0])
    assert processes(
        tmp_path / "kernels", 2, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    ) == [len(TEXTS)] * 2  # fmt: skip
    assert not list((tmp_path / "kernels").iterdir())


KILLED = f"""
    import os, signal, sys
    from rnncore import folders
    from rnncore.cpu import store

    name, turn = sys.argv[1], int(sys.argv[2])
    (holder,) = [module for module in (os, folders, store) if hasattr(module, name)]
    whole, calls = getattr(holder, name), []

    def killed(*given):
        calls.append(given)
        if len(calls) > turn:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*given)

    setattr(holder, name, killed)
    store.load_module({TEXTS[0]!r})
"""


@pytest.mark.parametrize("where, turn", [("compile_text", 0), ("fsync", 0), ("fsync", 2), ("_publish", 0)])
def test_a_process_killed_while_it_compiles(where, turn, tmp_path):
    folder = tmp_path / "kernels"
    env = os.environ | {"RNNCORE_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", textwrap.dedent(KILLED), where, str(turn)]
    assert subprocess.run(command, env=env, timeout=60).returncode == -signal.SIGKILL
    left = list(folder.glob("*"))
    assert all(path.name.startswith("new-") for path in left) and len(left) <= 1
    assert processes(folder, 1) == [len(TEXTS)]
    for path in left:
        assert path.exists()
        os.utime(path, (0, 0))
    folders.sweep(folder)
    assert whole(folder) and processes(folder, 1) == [0]


def test_no_home_and_no_user(monkeypatch):
    from pathlib import Path

    def nobody(*_):
        raise RuntimeError("Could not determine home directory.")

    for name in ("RNNCORE_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert store.cache_folder().name == f"rnncore-kernels-{os.getuid()}"
