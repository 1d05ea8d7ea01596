"""The plan of each kernel that a step gives: one to infer, one to keep what BPTT needs, one to go back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..lang.graph import Node
from ..lang.origin import pinned_origin
from ..lang.trace import Step
from .model import ONE, Plan
from .schedule import schedule
from .split import split_of

__all__ = ["plan_of"]


@lru_cache(maxsize=512)
def plan_of(step: Step, which: str) -> Plan:
    """The plan of a step: ``"infer"``, ``"forward"`` or ``"backward"``."""
    with pinned_origin(None):
        return _planned(step, which)


def _planned(step: Step, which: str) -> Plan:
    order = {p.name: k for k, p in enumerate(step.params)}
    sizes = {n: step.dims[n] for n in step.inputs}
    if which == "backward":
        split = split_of(step)
        roots: dict[str, Node] = {}
        for s in step.states:
            roots[f"next.{s}"] = split.roots.get(f"d.{s}", step.graph.const(0.0))
        for key, node in split.roots.items():
            if key.startswith("d.") and key[2:] in step.inputs:
                roots[f"out.{key}"] = node
            elif key.startswith("d.") and key[2:] in step.sources:
                roots[f"source.{key[2:]}"] = node
            elif key.startswith("p."):
                roots[f"sum.{key[2:]}"] = node
        saved = {k: n.shape[0] if n.shape else ONE for k, n in split.saved.items()}
        return schedule(step.name, roots, reverse=True, states=_states(step), inputs=sizes,
                        history=split.history, saved=saved, order=order)  # fmt: skip
    roots = {f"next.{s}": n for s, n in step.next_states.items()} | {"out.y": step.output}
    roots |= {f"out.{name}": step.roots[f"out.{name}"] for name in step.extras}
    history: tuple[str, ...] = ()
    saved = {}
    if which == "forward":
        split = split_of(step)
        roots |= {f"save.{k}": n for k, n in split.saved.items()}
        history, saved = split.history, {k: n.shape[0] if n.shape else ONE for k, n in split.saved.items()}
    return schedule(step.name, roots, reverse=False, states=_states(step), inputs=sizes,
                    history=history, saved=saved, order=order)  # fmt: skip


def _states(step: Step) -> dict[str, Any]:
    return {s: step.dims[s] for s in step.states}
