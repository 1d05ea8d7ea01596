"""The house: the engine names no component, imports point one way, and importing it is light."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import rnncore as rn

ROOT = Path(rn.__file__).parent
PLUGINS = ROOT.parent / "plugins"
FILES = sorted(ROOT.rglob("*.py"))
# from the bottom up; a package may import what stands below it, and its own rank where it is the same package
RANKS = [
    {"arguments", "errors", "folders", "forking", "rounding", "vecmath"},
    {"layout"},
    {"lang", "stretches"},
    {"combine"},
    {"plan"},
    {"reference"},
    {"cpu", "cuda"},
    {"hookspecs", "entries", "discovery", "registry", "params", "inputs", "initialize", "objective", "explanation",
     "describe", "description", "called", "differentiated", "network", "execute", "passes", "bound", "compiled_loss",
     "decoder_stream", "device_stream", "teaching", "zero_length", "dual", "joined", "kept", "batch", "segments",
     "tangent", "translation", "vectors", "writing", "backends", "beams", "between", "generation", "rows", "speaker",
     "stepper", "stepper_type", "steps", "stream", "training_steps", "whole", "whole_training"},
    {"data", "diagnosis", "testing"},
    {"train"},
    {"estimators"},
    {"cli"},
]  # fmt: skip
RANK = {name: k for k, names in enumerate(RANKS) for name in names}
# words of the language and of Python that schedules, initializers and scorers are called by, too
WORDS = {
    "concat", "constant", "dot", "exponential", "general", "identity", "location", "normal", "ones", "step", "uniform",
    "zeros",
}  # fmt: skip


def parsed(path):
    return ast.parse(path.read_text())


def part_of(path):
    """The package or module of rnncore that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


KINDS = (rn.cells, rn.topologies, rn.scorers, rn.losses, rn.optimizers, rn.schedules, rn.initializers)
COMPONENTS = {name for kind in KINDS for name in kind} - WORDS  # before any test registers one of its own


def docstrings(tree):
    """The constants that are docstrings: an example in one may name what it likes."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, holders)]
    return {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}


def named(tree):
    """Every identifier and every string of a file, without docstrings."""
    skip = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skip:
            yield node.value, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.alias)):
            yield node.name.split(".")[-1], node.lineno
        elif isinstance(node, (ast.arg, ast.keyword)):
            yield node.arg, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_engine_names_no_component(path):
    found = [f"{path.name}:{line}: {word}" for word, line in named(parsed(path)) if word in COMPONENTS]
    assert not found


def test_the_names_looked_for_are_those_of_the_plugins():
    folders = ("cells", "topologies", "losses", "optimizers")
    files = {path.stem for folder in folders for path in (PLUGINS / folder).glob("[a-z]*.py")}
    assert files and files <= COMPONENTS


def imported(path):
    """(module, line) of every import of rnncore in a file, wherever it stands, as absolute names."""
    package = ["rnncore", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            deeper = stem == "rnncore"
            yield from ((f"{stem}.{alias.name}" if deeper else stem, node.lineno) for alias in node.names)


def test_every_part_of_the_engine_has_its_rank():
    assert {part_of(path) for path in FILES} - {"__init__"} == set(RANK)


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) != "__init__"], ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    mine = RANK[part_of(path)]
    for module, line in imported(path):
        parts = module.split(".")
        assert parts[0] != "rnncore_plugins", f"{path}:{line} imports a plugin"
        if parts[0] == "rnncore" and len(parts) > 1 and parts[1] in RANK:
            same = mine == RANK[parts[1]] and (mine == RANK["network"] or parts[1] == part_of(path))
            assert RANK[parts[1]] < mine or same, f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", sorted(PLUGINS.rglob("*.py")), ids=lambda p: str(p.relative_to(PLUGINS)))
def test_a_plugin_imports_the_public_face_alone(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.split(".")[0] == "rnncore":
            allowed = {"rnncore.lang", "rnncore.combine"}
            assert node.module in allowed or {a.name for a in node.names} == {"hookimpl"}, f"{path}:{node.lineno}"
        elif isinstance(node, ast.Import):
            assert not any(a.name.split(".")[0] == "rnncore" for a in node.names), f"{path}:{node.lineno}"


HEAVY = (
    "numba", "llvmlite", "scipy", "sklearn", "matplotlib", "safetensors", "typer", "tqdm", "pandas", "torch", "jax"
)  # fmt: skip


def loaded_after(code):
    script = f"{code}\nimport json, sys\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("code", [
    "import rnncore",
    "import rnncore as rn; rn.Network(rn.cells[next(iter(rn.cells))](3), inputs=2).to_json()",
    "import rnncore.lang, rnncore.combine, rnncore.train, rnncore.data",
])  # fmt: skip
def test_importing_and_describing_loads_nothing_heavy(code):
    assert loaded_after(code) == []


def test_every_public_name_is_there_and_none_is_hidden_by_a_module():
    modules = {p.stem for p in ROOT.iterdir() if p.suffix == ".py" or p.is_dir()}
    for name in rn.__all__:
        value = getattr(rn, name)
        assert name in dir(rn)
        assert name not in modules or getattr(value, "__name__", "") == f"rnncore.{name}", name
    with pytest.raises(AttributeError, match="module 'rnncore' has no attribute 'nothing'"):
        rn.nothing  # noqa: B018
