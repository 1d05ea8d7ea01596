"""How fast are layers against the fastest of PyTorch, ONNX Runtime and JAX, and against the machine?

``python -m benchmarks.compare`` prints a row for every cell, shape, and inference or training step. All libraries get
the same weights, sequences and number of threads; their results must agree before anything is timed. *Inference*: a
call with weights packed before (`Network.bind`). *Training*: forward and backward, gradients of x and of every weight.

A row's calls are made and compiled first, then timed in turns, in one process; figures are medians. Between turns all
rest until the others' spinning threads sleep: without that (``--mixed 1``) each shares a processor with them. The peak
of the machine is that of `benchmarks.machine.Peak`, asked before each row; a share of it counts matrix products only.

``--dtype float32,float64`` makes a table of each; PyTorch has no fused path in double precision.
``--cells lstm,gru``, ``--shapes "B32 T100 I64 H64,..."``, ``--what infer``, ``--peers torch,jax`` make parts of the
table, judged by what they hold; ``--json FILE`` writes it, ``--markdown FILE`` puts it between the marks of a page;
``--join FILE,FILE,...`` makes one table of parts that were written before, and measures nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .common import (
    MARKDOWN,
    TURN,
    TURNS,
    Case,
    arguments,
    case,
    geomean,
    in_turns,
    into_page,
    multiply_adds,
    named,
    table,
    verdict,
)
from .machine import Peak, described

SHAPES = [
    (1, 100, 32, 32), (1, 100, 128, 128), (1, 100, 512, 512), (32, 100, 16, 32), (32, 100, 64, 64),
    (32, 100, 128, 128), (32, 50, 256, 256), (64, 50, 512, 512),
]  # fmt: skip
CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {}),
    "gru": ("gru", {"reset": "after"}),
    "gru-before": ("gru", {"reset": "before"}),
    "vanilla": ("vanilla", {}),
}
WHAT = {"infer": 1, "train": 3}  # products of a training step, in those of a prediction
WHOLE, BLOCK, ROW, AT_PEAK = 1.5, 1.1, 0.97, 0.95
PEERS = ("torch", "onnx", "jax")
AGREE = {"float32": 1e-3, "float64": 1e-9}


def ours(one: Case) -> dict[str, Callable[[], Any]]:
    """What is timed of ours: `infer` returns y, `train` the gradient of x."""
    bound = one.net.bind(one.params)

    def train():
        _, _, tape = one.net.forward(one.params, one.x)
        dx, _, _ = one.net.backward(one.params, tape, one.dy)
        tape.release()
        return dx

    return {"infer": lambda: bound(one.x)[0], "train": train}


def shape_of(name: str) -> tuple[int, int, int, int]:
    """The shape of that name."""
    return next(shape for shape in SHAPES if named(shape) == name)


def prepared(cell: str, shape: tuple, what: list[str], peers: list[str], threads: int, dtype: str):
    """The case of a row, and by library its calls: ready to be timed, and of one mind."""
    from .peers import agree, calls

    name, options = CELLS[cell]
    one = case(name, shape, dtype, **options)
    one.params.flat[:] = 0.05 * np.random.default_rng(1).standard_normal(one.params.flat.size)  # biases too
    sides = {"ours": ours(one)}
    for peer in peers:
        made = {k: f for k, f in calls(peer, one, threads).items() if k in what}
        agree(sides["ours"], made, AGREE[dtype])
        sides[peer] = made
    return one, sides


def rows_of(cell: str, shape: tuple, what: list[str], options: argparse.Namespace, peak: Peak) -> list[dict]:
    """The rows of a cell and a shape: seconds by library, ratio to the fastest other, operations a second."""
    one, sides = prepared(cell, shape, what, options.peers, options.threads, options.dtype)
    rows = []
    for k in what:
        peak.measure()
        timed = {side: made[k] for side, made in sides.items() if k in made}
        rests = {"rest": 0.0} if options.mixed else {"least": TURN}
        seconds = in_turns(timed, options.rounds, **rests)
        others = {side: s for side, s in seconds.items() if side != "ours"}
        best = min(others, key=others.__getitem__, default=None)
        flops = 2 * WHAT[k] * shape[0] * shape[1] * multiply_adds(one)
        rows.append({
            "cell": cell, "what": k, "shape": named(shape), "seconds": seconds, "best": best,
            "ratio": others[best] / seconds["ours"] if best else None, "speed": flops / seconds["ours"],
        })  # fmt: skip
    del one, sides
    gc.collect()
    return rows


def blocks(rows: list[dict]) -> dict[str, list[dict]]:
    """Rows by cell and inference or training."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(f"{row['cell']} {row['what']}", []).append(row)
    return found


def missed(rows: list[dict]) -> list[str]:
    """The bars that do not hold. Means are of those rows that have a peer."""
    judged = [r for r in rows if r["ratio"] is not None]
    if not judged:
        return ["nothing was compared: no peer has any of these rows"]
    text = []
    whole = geomean([r["ratio"] for r in judged])
    if whole < WHOLE:
        text.append(f"all {len(judged)} rows: geometric mean {whole:.2f}; the bar is {WHOLE}")
    for name, block in blocks(judged).items():
        mean = geomean([r["ratio"] for r in block])
        if mean < BLOCK:
            text.append(f"{name}: geometric mean {mean:.2f}; the bar is {BLOCK}")
    for r in judged:
        if r["ratio"] < ROW and r["share"] < AT_PEAK:
            name = f"{r['cell']} {r['what']} {r['shape']}"
            text.append(f"{name}: {r['ratio']:.2f} of {r['best']} at {r['share']:.0%} of the peak; the bar is {ROW}")
    return text


def shown(rows: list[dict], peers: list[str]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table; times in ms."""
    head = ["", "ours", *peers, "best/ours", "of peak"]
    lines = []
    for r in rows:
        ms = [f"{1e3 * r['seconds'][s]:.3g}" if s in r["seconds"] else "–" for s in ("ours", *peers)]
        ratio = f"{r['ratio']:.2f}" if r["ratio"] else "–"
        lines.append([f"{r['cell']} {r['what']} {r['shape']}", *ms, ratio, f"{r.get('share', 0):.0%}"])
    return head, lines


def means(rows: list[dict]) -> list[list[str]]:
    """Geometric means of the ratios: by block, and over all."""
    groups = blocks(rows) | {"all rows": rows}
    ratios = {name: [r["ratio"] for r in group if r["ratio"]] for name, group in groups.items()}
    return [[name, f"{geomean(v):.2f}", f"{min(v):.2f}", str(len(v))] for name, v in ratios.items() if v]


def as_markdown(head, lines) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *lines))


def parsed() -> argparse.Namespace:
    """The options, their lists made lists."""
    options = arguments(
        __doc__,
        rounds=(9, TURNS),
        cells=(",".join(CELLS), "Which cells."),
        shapes=(",".join(map(named, SHAPES)), "Which shapes: batch, time, inputs, units."),
        what=(",".join(WHAT), "Calls, training steps, or both."),
        peers=(",".join(PEERS), "Against whom; nothing: ours alone."),
        dtype=("float32", "float32, float64, or both: a table of each."),
        mixed=(0, "1: no rest between turns, so that the others' spinning threads take processors away."),
        json=("", "A file to write the rows into."),
        markdown=("", MARKDOWN),
        join=("", "Files of rows, by commas, that are made one table; nothing is measured."),
    )
    for name, known in {"cells": CELLS, "shapes": list(map(named, SHAPES)), "what": WHAT}.items():
        chosen = [k.strip() for k in getattr(options, name).split(",")]
        for k in chosen:
            if k not in known:
                raise SystemExit(f"--{name}: {k!r} is none of {', '.join(known)}")
        setattr(options, name, chosen)
    options.peers = [p for p in options.peers.split(",") if p]
    return options


def measured(options: argparse.Namespace) -> tuple[str, list[dict]]:
    """The machine and the rows of a run."""
    from .peers import versions

    peak, rows = Peak(options.threads, options.dtype), []
    for cell in options.cells:
        for shape in map(shape_of, options.shapes):
            rows += rows_of(cell, shape, options.what, options, peak)
            for line in shown(rows[-len(options.what):], options.peers)[1]:
                print("   ".join(line[:-1]), flush=True)
    for row in rows:
        row["share"] = row["speed"] / peak.value
    return f"{options.dtype}, {described(options.threads, versions(options.peers))}; {peak}", rows


def joined(files: list[str]) -> tuple[str, list[dict]]:
    """The same of files; of the machine what the first one says."""
    parts = [json.loads(Path(name).read_text()) for name in files]
    return parts[0]["machine"], [row for part in parts for row in part["rows"]]


def report(options: argparse.Namespace) -> list[str]:
    """Measure and print the table of one dtype; the bars that it misses."""
    machine, rows = joined(options.join.split(",")) if options.join else measured(options)
    order = list(CELLS), list(WHAT), list(map(named, SHAPES))
    rows.sort(key=lambda r: [known.index(r[k]) for known, k in zip(order, ("cell", "what", "shape"))])
    head, lines = shown(rows, options.peers)
    mean_head = ["best/ours", "geometric mean", "smallest", "rows"]
    print(f"\nmilliseconds, medians of calls in turns; {machine}\n")
    print(table(head, lines), "\n")
    print(table(mean_head, means(rows)))
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    if options.markdown:
        bars = "\n".join(f"- {text}" for text in missed(rows)) or "None is missed."
        tables = as_markdown(head, lines), as_markdown(mean_head, means(rows))
        text = "\n\n".join([f"Milliseconds. {machine}.", *tables, "Bars that are missed:", bars])
        into_page(options.markdown, f"compare {options.dtype}", text)
    return missed(rows)


def main() -> None:
    options, found = parsed(), []
    several = options.dtype.split(",")
    for dtype in several:
        path = Path(options.json)
        name = str(path.with_stem(f"{path.stem}-{dtype}")) if options.json and len(several) > 1 else options.json
        one = argparse.Namespace(**{**vars(options), "dtype": dtype, "json": name})
        found += [f"{dtype}: {text}" if len(several) > 1 else text for text in report(one)]
    verdict(options, found)


if __name__ == "__main__":
    main()
