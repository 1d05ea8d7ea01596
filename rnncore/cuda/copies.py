"""Rounded copies of what tensor cores multiply in a loop: which there are, who writes them, where their numbers lie.

A block of k is 64 bytes of each row or column: 32 bfloat16 numbers, or 16 of tf32. A copy has a product's operands one
after another, 16 rows after 16, block by block; and two turns, by the parity of the step that reads it: what is written
at a step stays until all have met in the next one.
"""

from __future__ import annotations

from typing import Any

from ..plan.model import ROWWISE, Plan, Product

__all__ = ["COLUMN", "ROW", "WORDS", "Copies", "eights_of", "in_block", "in_blocks", "pitch"]

WORDS = 16  # of a row or a column in a block of k
ROW, COLUMN = 16 * WORDS, 8 * WORDS  # of the rows, and of the columns, that lie together
Place = tuple[str, str]


def in_block(kind: str) -> int:
    """Numbers of a row or a column in a block of k."""
    return {"bf16": 2 * WORDS, "tf32": WORDS}[kind]


def in_blocks(n: int, kind: str) -> int:
    """Blocks of k of so many numbers."""
    return -(-n // in_block(kind))


def eights_of(columns: int, together: int) -> int:
    """Eights of so many columns, where so many of them are multiplied together."""
    return -(-columns // (8 * together)) * together


def pitch(eights: int) -> int:
    """Numbers from a row of sums to the next, for which a warp's stores of two fall into different banks."""
    return 8 * eights + 8 * (1 - eights % 2)


class Copies:
    """The copies of a kernel: one for each list of operands; none where no tensor cores multiply."""

    def __init__(self, plan: Plan, products: list[Product], kind: str):
        self.kind, self.reverse = kind, plan.reverse
        self.carried = "adj" if plan.reverse else "state"
        self.lists: list[tuple[tuple[Place, Any], ...]] = []
        self.of: dict[int, int] = {}  # the copy of a product, by its identity
        for product in products if kind else ():
            operands = tuple((plan.place[v.id], v.shape[0]) for v in product.operands)
            if operands not in self.lists:
                self.lists.append(operands)
            self.of[id(product)] = self.lists.index(operands)
        self.brought: set[tuple[int, int]] = set()
        given = [slot.leaf for product in products for slot in product.slots]
        given += [n for n in plan.nests if n.op not in ROWWISE]
        self._stored = {st.where for st in plan.stores} | {plan.place[n.id] for n in given if n.id in plan.place}

    def named(self, place: Place) -> list[tuple[int, int]]:
        """(copy, operand) of every operand that lies at `place`."""
        return [(c, o) for c, given in enumerate(self.lists) for o, (at, _) in enumerate(given) if at == place]

    def written(self, where: Place) -> list[tuple[int, int, str]]:
        """(copy, operand, turn) of what a store to `where` is copied to."""
        if where[0] != "next":
            return [(c, o, "now") for c, o in self.named(where)]
        found = [(c, o, "then") for c, o in self.named((self.carried, where[1]))]
        return found if self.reverse else [*found, *((c, o, "now") for c, o in self.named(where))]

    def stored(self, place: Place) -> bool:
        """Whether the loop stores what it reads at `place`, number by number."""
        kind, label = place
        if kind == self.carried:
            return True
        return place in self._stored and (kind == "work" or not self.reverse)

    def row(self, c: int, o: int, turn: str) -> str:
        """Where row ``i`` of an operand begins, in numbers."""
        words = f"copy_{turn}_{c} + copy_from_{c}_{o} + (i >> 4) * copy_wide_{c} + (i & 15) * {WORDS}"
        return f"2 * ({words})" if self.kind == "bf16" else words

    def store(self, row: str, u: str, value: str) -> str:
        """The text that rounds a value into unit `u` of a row."""
        many = in_block(self.kind)
        at = f"{row} + ({u} >> {many.bit_length() - 1}) * {16 * many} + ({u} & {many - 1})"
        return f"store_{self.kind}(memory, {at}, {value})"
