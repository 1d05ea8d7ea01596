"""The distribution holds what the tree holds, and the engine names no component."""

import ast
import os
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

import rnncore
import rnncore.registry as registry

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "rnncore").rglob("*.py"))


def folders(top, name):
    return {".".join([name, *p.parent.relative_to(ROOT / top).parts]) for p in (ROOT / top).rglob("__init__.py")}


def test_every_package_of_the_tree_is_distributed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(folders("rnncore", "rnncore") | folders("plugins", "rnncore_plugins"))


def test_the_version_is_one():
    assert distribution("rnncore").version == rnncore.__version__


def test_first_party_plugins_come_by_entry_point():
    (point,) = [e for e in distribution("rnncore").entry_points if e.group == "rnncore"]
    assert point.value == "rnncore_plugins"
    assert registry.current().failures == ()


def imported(tree):
    """Every module imported by its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_engine_imports_no_plugin(path):
    tree = ast.parse(path.read_text())
    assert not {"plugins", "rnncore_plugins"} & {name.split(".")[0] for name in imported(tree)}


def test_no_cuda_package_comes_unasked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    words = ("cuda", "cupy", "nvidia")
    assert not [need for need in project["dependencies"] if any(word in need for word in words)]
    extras = project["optional-dependencies"]
    assert all(any("cupy" in need for need in extras[name]) for name in ("cuda", "cuda13"))
    assert not [need for name in ("test", "dev") for need in extras[name] if any(word in need for word in words)]


def test_the_cpu_imports_nothing_of_the_gpu():
    code = """
import sys, numpy as np, rnncore as rn
net = rn.Network(rn.cells.gru(3), inputs=rn.Tokens(4), outputs=4)
params, x = net.init(), np.zeros((2, 3), int)
net(params, x), net.loss_and_grad(params, x, x, loss="cross_entropy"), net.bind(params)(x)
net.stream(params, batch=2).step(x[:, 0]), rn.generate(net, params, [[1]], steps=2)
print([m for m in sys.modules if m.startswith(("cupy", "numba_cuda", "rnncore.cuda", "numba.cuda"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("make", ["net.init(device='cuda')", "net.init().to('cuda')"])
def test_without_a_gpu_one_error_says_what_is_missing(make):
    code = f"""
import rnncore as rn
net = rn.Network(rn.cells.gru(3), inputs=2)
for _ in range(2):
    try: {make}
    except rn.InputError as error: print(error)
"""
    environment = {k: v for k, v in os.environ.items() if "CUDASIM" not in k} | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    told, again = done.stdout.splitlines()
    assert told == again and told.startswith("device 'cuda' is not available: ")
    assert "there is no NVIDIA driver on this machine" in told or "finds no GPU" in told or "gives up" in told
    assert "pip install 'rnncore[cuda]'" in told or "not installed" not in told


def test_it_runs_from_a_zip(tmp_path):
    """Kernels, plugins and data sets, as in an application that is one file."""
    packages = {"rnncore": ROOT / "rnncore", "rnncore_plugins": ROOT / "plugins"}
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as made:
        for name, folder in packages.items():
            for path in folder.rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    made.write(path, f"{name}/{path.relative_to(folder).as_posix()}")
    code = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import numpy as np, rnncore as rn, rnncore_plugins
    assert all(sys.argv[1] in file for file in (rn.__file__, rnncore_plugins.__file__, rn.cells.gru.filename))
    net = rn.Network(rn.cells.gru(3), inputs=12, outputs=9, mode="many-to-one")
    train, test = rn.data.japanese_vowels()
    value, grads = net.loss_and_grad(net.init(), train.x[:2], train.y[:2], loss="cross_entropy")
    print(round(value) > 0, train, len(rn.data.sunspots()[0]), len(rn.data.sonnets()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "app.zip")], capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    told = "Sequences(270 x (7 to 26 steps, 12 features), 9 classes, from JapaneseVowels_TRAIN.ts)"
    assert done.stdout == f"True {told} 309 23868\n"
