"""A graph as text, one statement a line, in the author's names."""

from __future__ import annotations

import os
import re

from .graph import Node, topological

__all__ = ["author_names", "format_graph"]

# what stands around a leaf's name
_OF_KIND = {"adj": ("d", ""), "out": ("d", ""), "grad": ("d", ""), "next": ("", "_next")}


def author_names(order: list[Node]) -> dict[int, str]:
    """Names for printing: the author's variable where there is one, else ``v<i>``."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for node in order:
        base = node.graph.names.get(node.id, f"v{len(names)}")
        if node.op == "leaf" and node.id not in node.graph.names:
            before, after = _OF_KIND.get(node.attrs[0], ("", ""))
            base = before + re.sub(r"\W", "_", node.attrs[1]) + after
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names[node.id] = name
    return names


def format_graph(roots: dict[str, Node], with_lines: bool = True) -> str:
    """The graph as text, one statement a line, with shapes and the author's lines."""
    order = topological(roots.values())
    names = author_names(order)
    lines = []
    for node in order:
        shape = "(" + ", ".join(str(d) for d in node.shape) + ")"
        attrs = ", ".join(str(a) for a in node.attrs)
        body = ", ".join(names[a.id] for a in node.args)
        text = f"{names[node.id]}: {shape} = {node.op}"
        text += (f"[{attrs}]" if attrs else "") + (f"({body})" if body else "")
        if with_lines and node.origin is not None:
            text = f"{text:<60}  # {os.path.basename(node.origin[0])}:{node.origin[1]}"
        lines.append(text)
    lines += [f"return {key} = {names[node.id]}" for key, node in roots.items()]
    return "\n".join(lines)
