"""The distribution holds what the tree holds, and the engine names no component."""

import ast
import tomllib
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


def texts(tree):
    """Every text in the code that is no docstring, with its line."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    docs = {n.body[0].value for n in ast.walk(tree) if isinstance(n, documented) and ast.get_docstring(n)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs:
            yield node.value, node.lineno


def imported(tree):
    """Every module imported by its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_engine_names_no_component(path):
    entries, tree = registry.current().entries, ast.parse(path.read_text())
    names = {name for kind in ("cell", "topology", "scorer", "loss", "optimizer") for name in entries[kind]}
    assert [(text, line) for text, line in texts(tree) if text in names] == []
    assert not {"plugins", "rnncore_plugins"} & {name.split(".")[0] for name in imported(tree)}
