"""The inside of a loop over rows and units, or also over positions: values named once, read where they lie."""

from __future__ import annotations

from collections.abc import Callable

from ..lang.graph import Node
from ..lang.ops import OPS, SHAPED
from ..plan.model import ROWWISE, Store, reduces_positions
from ..plan.waves import Wave
from .writer import FUNCTION, Writer

__all__ = ["Body"]


class Body:
    """Lines for one row ``b`` (the block's ``i``-th) and, where there are some, unit ``u`` and position ``position``.

    Vectors of units of a phase are computed in its own loops, and read from memory elsewhere; numbers of a row are
    computed where they are needed. ``reads`` collects the places that were read. With `early` what a vector holds
    already is read by lines of their own, which may run before a barrier.
    """

    def __init__(self, w: Writer, wave: Wave, phase: int | None = None, early: Callable[..., bool] | None = None):
        self.w, self.wave, self.phase, self.early = w, wave, phase, early
        self.ahead: dict[str, str] = {}  # lines that read early, by the variable
        self.lines: list[tuple[int, str]] = []
        self.depth = 0
        self.inner = 0  # where the loop inside begins
        self.values: dict[int, str] = {}
        self.rows: dict[str, str] = {}
        self.reads: set[tuple[str, str]] = set()

    def put(self, text: str, origin=None) -> None:
        before, depth = self.w.lines, self.w.depth
        self.w.lines, self.w.depth = [], 0
        self.w.put(text, origin)
        (line,) = self.w.lines
        self.w.lines, self.w.depth = before, depth
        self.lines.append((self.depth, line))

    def block(self, text: str) -> None:
        if not self.depth:
            self.inner = len(self.lines)
        self.put(text)
        self.depth += 1

    def end(self) -> None:
        self.depth -= 1

    def write(self) -> None:
        """Put the lines into the text under way."""
        for depth, line in self.lines:
            self.w.lines.append("    " * (self.w.depth + depth) + line)

    def row_address(self, located: tuple[str, str, str, str]) -> tuple[str, str]:
        """(array, variable with the first number of this row) of a place."""
        array, base, ld, kind = located
        return array, self._of_row(f"{base} + {self.w.row(kind, 'b')} * {ld}", array)

    def _of_row(self, text: str, array: str = "") -> str:
        """The variable that holds what depends on the row alone."""
        key = f"{array}|{text}"
        if key not in self.rows:
            name = self.rows[key] = f"at{len(self.rows)}"
            line = 0, f"{name} = {text}"
            if self.depth:  # what depends on the row alone stands before the loops inside
                self.lines.insert(self.inner, line)
                self.inner += 1
            else:
                self.lines.append(line)
        return self.rows[key]

    def address(self, n: Node) -> tuple[str, str]:
        """(array, first number) of this row's vector `n`."""
        if n.level == "call":
            return "weights", self.w.call_vector(n)
        place = self.w.place_of(n)
        self.reads.add(place)
        return self.row_address(self.w.locate(place))

    # values
    def value(self, n: Node) -> str:
        """The variable, or the constant, that holds `n`."""
        if n.id not in self.values:
            if n.shape == () and n.level == "call":
                return self.w.call_scalar(n)
            self.values[n.id] = self._assigned(n)
        return self.values[n.id]

    def _assigned(self, n: Node) -> str:
        name = self.w.name(n)
        if self.early and len(n.shape) == 1 and self._lies(n) and self.early(n) and not _truth(n):
            self.ahead[name] = f"{name} = {self.far(n)}"
        else:
            self.put(f"{name} = {self._text(n)}", n.origin)
        return name

    def far(self, n: Node) -> str:
        """The text that reads a number of this row's vector `n`, with nothing made before."""
        if n.level == "call":
            return f"load(weights, {self.w.call_vector(n)} + u)"
        array, base, ld, kind = self.w.locate(self.w.place_of(n))
        return f"load({array}, {base} + {self.w.row(kind, 'b')} * {ld} + u)"

    def _text(self, n: Node) -> str:
        w = self.w
        if n.op == "leaf" and n.attrs[0] == "source":
            label = n.attrs[1]
            return f"load(memory, {w.pointer(f'source.{label}')} + {self._source_row(label)} + u)"
        if n.op == "along":
            return self.load(n.args[0], "u")
        if n.op == "over":
            return self.load(n.args[0], "position")
        if n in w.kernel.sums and w.plan.ready[n.id][0] == self.wave.index:
            return f"load(shm, p_sums + {w.kernel.sums.index(n)} * s_room + i)"
        if self._lies(n):
            return self.load(n, "u" if n.shape else "0")
        arguments = [self.value(a) for a in n.args[: 1 if n.op in SHAPED else None]]
        if n.op in ("spread", "stop"):
            return arguments[0]
        return f"{FUNCTION.get(n.op, n.op)}({', '.join(arguments)})"

    def _lies(self, n: Node) -> bool:
        """Whether a value is read from memory here."""
        if n.op == "leaf" or n.level == "call" or n.op in ROWWISE or reduces_positions(n) or self.wave.loaded(n):
            return True
        return len(n.shape) == 1 and self.w.plan.ready[n.id] != (self.wave.index, self.phase)

    def load(self, n: Node, index: str) -> str:
        """The text that reads a number of this row's vector `n`."""
        array, at = self.address(n)
        return self.w.as_read(n, f"load({array}, {at} + {index})")

    def _source_row(self, label: str) -> str:
        return f"(source_row + position) * {self.w.size(f'ld.source.{label}')}"

    # stores
    def store(self, st: Store) -> None:
        array, at = self.row_address(self.w.target(st.where))
        value = self.w.as_number(st.node, self.value(st.node))
        if st.where[0] == "out":
            self.put(f"if {self.w.size('want.' + st.where[1])} > 0:")
            self.put(f"    store({array}, {at} + u, {value})")
        else:
            self.put(f"store({array}, {at} + u, {value})")
            self._copy(st.where, "u", value)

    def keep(self, place: tuple[str, str], value: str, index: str = "u") -> None:
        """Store a value in a work column."""
        array, at = self.row_address(self.w.locate(place))
        self.put(f"store({array}, {at} + {index}, {value})")
        self._copy(place, index, value)

    def _copy(self, where: tuple[str, str], index: str, value: str) -> None:
        """Round what is stored into the copies that products read."""
        copies = self.w.copies
        for c, o, turn in copies.written(where):
            self.put(copies.store(self._of_row(copies.row(c, o, turn)), index, value))

    def add_to_source(self, st: Store) -> None:
        """Add to the adjoint of a source at this position and unit."""
        at = f"{self.w.pointer(f'adj.source.{st.where[1]}')} + {self._source_row(st.where[1])} + u"
        self.put(f"store(memory, {at}, add(load(memory, {at}), {self.value(st.node)}))")


def _truth(n: Node) -> bool:
    return n.op in OPS and OPS[n.op].boolean
