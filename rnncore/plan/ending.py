"""An output that follows from the new states alone is there before the first step, too: from the initial states.

A sequence of length 0 then ends in it, as it ends in its initial h where the output is a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..lang.diff import reverse
from ..lang.graph import Node, check_graph, pinned_origin, topological
from ..lang.trace import Step

__all__ = ["Ending", "ending_of"]


@dataclass(frozen=True, eq=False)
class Ending:
    """``roots``: the output ``y`` on leaves of the kind ``state``. ``reverse``: ``d.<state>`` and, of one sequence,
    ``p.<parameter>``, from a leaf ``y`` of the kind ``out``."""

    roots: dict[str, Node]
    reverse: dict[str, Node]


@lru_cache(maxsize=256)
def ending_of(step: Step) -> Ending | None:
    """How the output follows from the new states; None where it is a state itself, or reads anything else.

    An output that is handed on as a state, too, is what it is of the other states, where it can be.
    """
    if not step.separate_output:
        return None
    states = {n.id: s for s, n in step.next_states.items()}
    others = {k: s for k, s in states.items() if k != step.output.id}
    return _ending(step, others) or _ending(step, states)


def _ending(step: Step, states: dict[int, str]) -> Ending | None:
    """The output on what the nodes `states` become: leaves."""
    made: dict[int, Node] = {}
    new: set[int] = set()
    for node in topological([step.output]):
        with pinned_origin(node.origin):
            if node.id in states:
                made[node.id] = step.graph.leaf("state", states[node.id], node.shape, "step")
                new.add(made[node.id].id)
            elif not node.args or node.level == "call":
                made[node.id] = node
            else:
                args = tuple(made[a.id] for a in node.args)
                made[node.id] = step.graph.make(node.op, args, node.attrs, node.shape, node.level)
    output = made[step.output.id]
    read = topological([output])
    if any(n.op == "leaf" and n.level == "step" and n.id not in new for n in read):
        return None
    through = [a for n in read for a in n.args if n.level == "step" and a.level == "call"]
    if any(n.args or n.op == "array" for n in through):
        return None  # a function of parameters: the loop alone passes gradients through it
    return Ending({"y": output}, _reverse(step, output, read))


def _reverse(step: Step, output: Node, read: list[Node]) -> dict[str, Node]:
    with pinned_origin(None):
        adjoint = reverse({output: step.graph.leaf("out", "y", output.shape, "step")})
        kinds = {"state": "d", "param": "p"}
        roots = {
            f"{kinds[n.attrs[0]]}.{n.attrs[1]}": adjoint[n.id]
            for n in read
            if n.op == "leaf" and n.attrs[0] in kinds and n.id in adjoint
        }
        check_graph(roots)
    return roots
