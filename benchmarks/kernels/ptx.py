"""The text of a kernel in PTX as blocks of instructions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Block", "Instruction", "Program", "parsed"]


@dataclass(frozen=True)
class Instruction:
    """``@guard op out, args;``: registers without ``%``, numbers and names as they stand there."""

    op: str
    out: tuple[str, ...]
    args: tuple[str, ...]
    guard: str = ""  # a predicate, with "!" in front where it must not hold

    def __str__(self) -> str:
        guard = "!%" + self.guard[1:] if self.guard.startswith("!") else "%" + self.guard
        operands = [*(["/".join(self.out)] if self.out else []), *self.args]
        return f"@{guard} " * bool(self.guard) + f"{self.op} {', '.join(operands)}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The registers that it reads."""
        found = [name for a in self.args for name in re.findall(r"%([a-z]+\d+)", a)]
        return tuple(found + [self.guard.lstrip("!")] * bool(self.guard))


@dataclass(frozen=True)
class Block:
    """Instructions that run one after another; the last may branch to the block of that index."""

    body: tuple[Instruction, ...]
    target: int | None = None
    guard: str = ""
    ends: bool = False  # the kernel returns here


@dataclass(frozen=True)
class Program:
    """The entry of a module.

    Attributes
    ----------
    blocks : tuple of Block
    registers : mapping of str to str
        What names of registers begin with, and their type: ``"rd": "b64"``.
    arrays : mapping of str to (str, int)
        The space that a name stands for ("shared", "local"), and its bytes: 0 where a launch says how many.
    """

    blocks: tuple[Block, ...]
    registers: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, tuple[str, int]] = field(default_factory=dict)


def parsed(ptx: str) -> Program:
    """The blocks of the entry of a module, in the order of the text.

    Raises
    ------
    ValueError
        If the module has no entry.
    """
    start = re.search(r"\.visible \.entry[^{]*\{", ptx)
    if start is None:
        raise ValueError("no entry in this PTX")
    labels: dict[str, int] = {}
    found: list[tuple[list[Instruction], str, str, bool]] = [([], "", "", False)]
    for text in _statements(ptx[start.end() :]):
        if text.endswith(":"):
            if found[-1][0] or found[-1][1] or found[-1][3]:
                found.append(([], "", "", False))
            labels[text[:-1]] = len(found) - 1
            continue
        one = _instruction(text)
        if one.op.startswith("bra"):
            found[-1] = (found[-1][0], one.args[0], one.guard, False)
            found.append(([], "", "", False))
        elif one.op in ("ret", "exit"):
            found[-1] = (found[-1][0], "", one.guard, True)
            found.append(([], "", "", False))
        else:
            found[-1][0].append(one)
    blocks = tuple(Block(tuple(b), labels[to] if to else None, guard, ends) for b, to, guard, ends in found)
    own = re.split(r"^\.(?:func|visible)", ptx[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    registers = {name: kind for kind, name in re.findall(r"\.reg \.(\w+)\s+%([a-z]+)<", own)}
    arrays = re.findall(r"\.(shared|local) \.align \d+ \.b8\s+(\w+)\[(\d*)\]", ptx)
    return Program(blocks, registers, {name: (space, int(many or 0)) for space, name, many in arrays})


def _statements(text: str) -> Iterator[str]:
    """Statements and labels, up to the brace that ends the entry."""
    depth, begun = 1, ""
    for line in text.splitlines():
        line = line.split("//")[0].strip()
        if line in ("{", "}"):
            depth += 1 if line == "{" else -1
            if not depth:
                return
        elif line.startswith(".") or not line:
            continue
        elif line.endswith((":", ";")):
            yield f"{begun} {line}".rstrip(";").strip()
            begun = ""
        else:
            begun = f"{begun} {line}".strip()


def _instruction(text: str) -> Instruction:
    guard, text = re.fullmatch(r"(?:@(!?)%(\w+)\s+)?(.*)", text).expand(r"\1\2|\3").split("|", 1)
    op, _, rest = text.partition("\t") if "\t" in text else text.partition(" ")
    operands = [a.strip() for a in re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+", rest)]
    writes = operands and not op.startswith(("st.", "bar", "bra", "red.", "membar", "fence", "ret"))
    out = tuple(re.findall(r"%([a-z]+\d+)", operands[0])) if writes else ()
    return Instruction(op.strip(), out, tuple(operands[1:] if writes else operands), guard)
