"""What several benchmarks share: the cases, timing in turns, and tables."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "CELLS", "MARKDOWN", "PROCESSES", "REST", "SHAPES", "Case", "arguments", "case", "geomean", "in_turns",
    "into_page", "multiply_adds", "named", "needs", "table", "TURN", "TURNS", "verdict",
]  # fmt: skip

CELLS = ["vanilla", "gru", "lstm"]
SHAPES = [(1, 100, 32, 32), (32, 100, 64, 64), (32, 100, 128, 128), (32, 50, 256, 256), (64, 50, 512, 512)]


@dataclass
class Case:
    """A network of one layer with its input and an adjoint of its output; `cell` names it with its options."""

    net: Any
    params: Any
    x: np.ndarray
    dy: np.ndarray
    cell: str = ""


def case(cell: Any, shape: tuple[int, int, int, int], dtype: str = "float32", **options) -> Case:
    """The case of a cell, registered under a name or made by `rn.cell`, and (batch, time, inputs, units)."""
    import rnncore as rn

    batch, steps, inputs, units = shape
    make = rn.cells[cell] if isinstance(cell, str) else cell
    net = rn.Network(make(units, **options), inputs=inputs)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, steps, inputs)).astype(dtype)
    dy = rng.standard_normal((batch, steps, units)).astype(dtype)
    name = ", ".join([make.name, *(f"{k} {v}" for k, v in options.items())])
    return Case(net, net.init(seed=0, dtype=dtype), x, dy, name)


def multiply_adds(one: Case) -> int:
    """Of one sequence's step, in products with matrices alone."""
    from rnncore.lang.graph import topological

    total = 0
    for layer, sizes in one.net.loops.values():
        for node in topological(list(layer.step.roots.values())):
            if node.op in ("matmul", "matmul_t"):
                total += int(np.prod([sizes.get(n, n) for n in node.args[0].shape]))
    return total


def needs(*packages: str) -> None:
    """Have asv skip a benchmark, and say so, where a package is missing."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise NotImplementedError(f"needs {', '.join(missing)}")


def geomean(ratios: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios))))


def named(shape: tuple[int, int, int, int]) -> str:
    """The name of a shape in tables."""
    return " ".join(f"{letter}{n}" for letter, n in zip("BTIH", shape, strict=True))


TURN = 0.01  # seconds of a turn at least: short calls are repeated for so long
REST = 0.03  # seconds after which OpenMP's threads have stopped spinning (9 ms where it was measured)


def in_turns(
    functions: Mapping[str, Callable[[], Any]], rounds: int, calls: int = 3, rest: float = REST, least: float = 0.0
) -> dict[str, float]:
    """Median seconds of each function; they are called in turns, so that all see the same noise.

    A turn is a rest, in which the threads of the one before fall asleep, a call that wakes the function's own, and
    `calls` that are timed, as in a loop that does nothing else, or more until `least` seconds are over. With ``rest=0``
    it is one timed call.
    """
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for k in range(rounds + 1):
        for name, function in functions.items():
            if rest:
                time.sleep(rest)
                function()
            began, turn = time.perf_counter(), []
            while len(turn) < (calls if rest else 1) or time.perf_counter() < began + least:
                start = time.perf_counter()
                function()
                turn.append(time.perf_counter() - start)
            taken[name] += turn if k else []
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as text, the first column to the left and the others to the right."""
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = [
        "  ".join(text.ljust(w) if k == 0 else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths)))
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def into_page(page: str, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` of a Markdown file."""
    path = Path(page)
    parts = re.split(f"(<!-- /?{re.escape(name)} -->)", path.read_text(encoding="utf-8"))
    if len(parts) != 5:
        raise SystemExit(f"{page} needs one <!-- {name} --> and one <!-- /{name} -->")
    path.write_text("".join([*parts[:2], f"\n\n{text}\n\n", *parts[3:]]), encoding="utf-8")


TURNS = "Turns that each side has; figures are medians of all their calls."
PROCESSES = "Processes that are timed; figures are their medians."
MARKDOWN = "A page to put the table into, between its marks."
_COMMON = {
    "threads": (2, "Threads of every library."),
    "bars": (1, "1: leave with status 1 where a bar is missed; 0: print without judging."),
}
_METAVARS = {int: "N", float: "X", str: "TEXT"}


def arguments(text: str | None, *places: tuple[str, str], **options: tuple[Any, str]) -> argparse.Namespace:
    """What the command line says; `text` is the help's, the command's docstring.

    `places` are arguments without a default, names and what they are; `options` have a default and what they do.
    ``--threads`` is there always and is set before anything runs; so is ``--bars``.
    """
    found = _parser(text, places, options).parse_args()
    for name in ("RNNCORE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(found.threads)
    if found.threads == 1:  # XLA takes every processor or one
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5:
        print(f"note: the load of this machine is {os.getloadavg()[0]:.1f} already: other work disturbs these figures")
    return found


def _parser(text: str | None, places: Sequence[tuple[str, str]], options: Mapping[str, tuple[Any, str]]):
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    prog = f"python -m {spec.name.removesuffix('.__main__')}" if spec is not None else None
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=text, formatter_class=formatter, allow_abbrev=False)
    for name, told in places:
        parser.add_argument(name, metavar=name.upper(), help=told)
    for name, (default, told) in {**_COMMON, **options}.items():
        told = f"{told} Default: {default}." if default != "" else told
        kind: Any = type(default)
        parser.add_argument(
            f"--{name}", type=kind, default=default, metavar=_METAVARS[kind], help=told.replace("%", "%%")
        )
    return parser


def verdict(options: argparse.Namespace, missed: Sequence[str]) -> None:
    """Say which bars are missed, and leave with status 1 if any is."""
    if not options.bars:
        return
    print("\n" + ("\n".join(f"missed: {text}" for text in missed) if missed else "every bar is met"))
    sys.exit(1 if missed else 0)
