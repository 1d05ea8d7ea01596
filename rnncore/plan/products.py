"""Which slots share a product, and which of its operands are one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..lang.graph import Node
from .model import Product, Slot

__all__ = ["Grouping"]


class Grouping:
    """Products of slots: `columns` are the working memory's, in order; `place` is where each value lies, by node id."""

    def __init__(self, columns: Mapping[str, Any], place: Mapping[int, tuple[str, str]]):
        self.columns, self.place = columns, place

    def of(self, slots: Iterable[Slot], wanted: Callable[[Node, Slot], bool], first: dict[str, bool]) -> list[Product]:
        """Slots that read the same operands, side by side in memory, share one product.

        Of operands that are `wanted`; `first` says of which slots nothing is computed yet, and is kept so.
        """
        groups: list[tuple[tuple, list]] = []
        for slot in slots:
            terms = [t for t in slot.terms if wanted(t[2], slot)]
            if not terms:
                continue
            key = (tuple(t[2].id for t in terms), first.get(slot.name, False), slot.when)
            beside = groups and groups[-1][0] == key and _adjacent(self.columns, groups[-1][1][-1][0].name, slot.name)
            if beside and slot.when == "loop" and len({t[2].id for t in terms}) == len(terms):
                groups[-1][1].append((slot, terms))
            else:
                groups.append((key, [(slot, terms)]))
        made = []
        for _, members in groups:
            made += self._runs(members, first)
        return made

    def _runs(self, members, first) -> list[Product]:
        """Operands one after another in memory are one long operand."""
        terms = members[0][1]
        order = sorted(range(len(terms)), key=lambda k: self._position(terms[k][2]))
        runs: list[list[int]] = []
        for k in order:
            if runs and self._follows(terms[runs[-1][-1]][2], terms[k][2]):
                runs[-1].append(k)
            else:
                runs.append([k])
        slots = tuple(m[0] for m in members)
        made = []
        for run in runs:
            blocks = {(i, j): members[j][1][k][:2] for i, k in enumerate(run) for j in range(len(members))}
            starts = all(first.get(s.name, False) for s in slots)
            for s in slots:
                first[s.name] = False
            made.append(Product(tuple(terms[k][2] for k in run), slots, blocks, starts))
        return made

    def _position(self, node: Node) -> tuple:
        kind, label = self.place[node.id]
        return (kind, list(self.columns).index(label) if kind == "work" else 0, node.id)

    def _follows(self, a: Node, b: Node) -> bool:
        pa, pb = self.place[a.id], self.place[b.id]
        return pa[0] == pb[0] == "work" and _adjacent(self.columns, pa[1], pb[1])


def _adjacent(columns: Mapping[str, Any], a: str, b: str) -> bool:
    order = list(columns)
    return a in columns and b in columns and order.index(b) == order.index(a) + 1
