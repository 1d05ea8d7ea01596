"""An output that follows from the new states alone is there before the first step, too: from the initial states.

A sequence of length 0 then ends in it, as it ends in its initial h where the output is a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..lang.diff import reverse
from ..lang.graph import Node, check_graph, topological
from ..lang.origin import pinned_origin
from ..lang.trace import Step

__all__ = ["Ending", "ending_of"]


@dataclass(frozen=True, eq=False)
class Ending:
    """``roots``: the outputs, ``y`` and further ones, on leaves of the kind ``state``.

    ``reverse``: ``d.<state>`` and, of one sequence, ``p.<parameter>``, from leaves of the kind ``out`` under the
    outputs' names.
    """

    roots: dict[str, Node]
    reverse: dict[str, Node]


@lru_cache(maxsize=256)
def ending_of(step: Step, extras: tuple[str, ...] = ()) -> Ending | None:
    """How the output follows from the new states; None where it is a state itself, or reads anything else.

    An output that is handed on as a state, too, is what it is of the other states, where it can be. `extras` names
    further outputs that are wanted.
    """
    if not step.separate_output:
        return None
    outputs = {"y": step.output} | {name: step.roots[f"out.{name}"] for name in extras}
    states = {n.id: s for s, n in step.next_states.items()}
    others = {k: s for k, s in states.items() if k not in {n.id for n in outputs.values()}}
    return _ending(step, outputs, others) or _ending(step, outputs, states)


def _ending(step: Step, outputs: dict[str, Node], states: dict[int, str]) -> Ending | None:
    """The outputs on what the nodes `states` become: leaves."""
    made: dict[int, Node] = {}
    new: set[int] = set()
    for node in topological(outputs.values()):
        with pinned_origin(node.origin):
            if node.id in states:
                made[node.id] = step.graph.leaf("state", states[node.id], node.shape, "step")
                new.add(made[node.id].id)
            elif not node.args or node.level == "call":
                made[node.id] = node
            else:
                args = tuple(made[a.id] for a in node.args)
                made[node.id] = step.graph.make(node.op, args, node.attrs, node.shape, node.level)
    roots = {name: made[n.id] for name, n in outputs.items()}
    read = topological(roots.values())
    if any(n.op == "leaf" and n.level == "step" and n.id not in new for n in read):
        return None
    through = [a for n in read for a in n.args if n.level == "step" and a.level == "call"]
    if any(n.args or n.op == "array" for n in through):
        return None  # a function of parameters: the loop alone passes gradients through it
    return Ending(roots, _reverse(step, roots, read))


def _reverse(step: Step, outputs: dict[str, Node], read: list[Node]) -> dict[str, Node]:
    kinds = {"state": "d", "param": "p"}
    with pinned_origin(None):
        adjoint = reverse({n: step.graph.leaf("out", name, n.shape, "step") for name, n in outputs.items()})
        roots = {
            f"{kinds[n.attrs[0]]}.{n.attrs[1]}": adjoint[n.id]
            for n in read
            if n.op == "leaf" and n.attrs[0] in kinds and n.id in adjoint
        }
        check_graph(roots)
    return roots
