"""The text of a kernel made ready for the simulator: its functions that wait become generators."""

from __future__ import annotations

import ast
import inspect
from types import CodeType

from . import tile_twins, twins

__all__ = ["rewritten"]

_TWINS = {"rnncore.cuda.device": twins, "rnncore.cuda.tiles": tile_twins}


def rewritten(text: str, filename: str) -> tuple[CodeType, set[str]]:
    """The code of a kernel's text that runs on `twins`, and the names of its functions that wait: generators."""
    tree = ast.parse(text, filename)
    waiting = _imported(tree)
    local = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    while True:
        more = {name for name, node in local.items() if name not in waiting and _calls(node, waiting)}
        if not more:
            break
        waiting |= more
    tree = ast.fix_missing_locations(_Yielding(waiting).visit(tree))
    return compile(tree, filename, "exec", dont_inherit=True), waiting & set(local)


def _imported(tree: ast.Module) -> set[str]:
    """Turns the imports from the device's modules to their twins; gives the names of those that wait."""
    waiting = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module in _TWINS:
            twin = _TWINS[node.module]
            node.module = twin.__name__
            waiting |= {a.asname or a.name for a in node.names if inspect.isgeneratorfunction(getattr(twin, a.name))}
    return waiting


def _calls(tree: ast.AST, names: set[str]) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
        for node in ast.walk(tree)
    )


class _Yielding(ast.NodeTransformer):
    """Writes ``yield from`` before the calls of what waits."""

    def __init__(self, waiting: set[str]):
        self.waiting = waiting

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in self.waiting:
            return ast.copy_location(ast.YieldFrom(node), node)
        return node
