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
