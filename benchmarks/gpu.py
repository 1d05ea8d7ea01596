"""How fast are layers on a GPU against PyTorch with cuDNN, and against the least time that the device allows?

``python -m benchmarks.gpu`` prints a row for every cell, shape, precision, and inference or training: times by CUDA
events, medians of calls in turns, of arrays that are on the device and stay there. PyTorch has `nn.LSTM`, `nn.GRU`,
`nn.RNN` in the row's precision and in fp16 where cuDNN's persistent kernels apply, and a loop in Python for cells that
it lacks. The floor is computed from multiply-adds, bytes and waits (`benchmarks.devices`); the time of a barrier is
measured first. It takes up to ``--minutes``: ``--shapes every`` has all units, batches and steps, `brief` some.

Where no GPU is at hand, or with ``--model 1``, a row has the kernels' expected time a step from their own code
(`benchmarks.expected`) next to the floor, and registers and spills; a spill or a float64 instruction is a bar missed.

``--cells``, ``--shapes``, ``--what``, ``--precisions``, ``--rounds``, ``--json``, ``--markdown`` and ``--join`` are
those of `benchmarks.compare`; ``--ragged`` names the shapes that are measured with lengths too, ``--devices`` those of
the model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import gpu_model, gpu_table
from .common import MARKDOWN, TURNS, arguments, into_page, named, table, verdict
from .compare import as_markdown
from .devices import DEVICES, at_hand
from .gpu_rows import BRIEF, CELLS, EVERY, PRECISIONS, RAGGED, WHAT

FLASHRNN = {  # ms on an H100, LSTM H768 B16 T1024: Pöppel et al. 2024, arXiv:2412.07752; forward, forward and backward
    "nn.LSTM fp16": (2.01, 5.19), "FlashRNN fused bf16": (4.87, 13.61), "haste float32": (18.4, 43.9),
    "PyTorch loop": (147.0, 484.0),
}  # fmt: skip
LISTS = ("cells", "shapes", "ragged", "what", "precisions", "devices")
TOLD = {
    "cells": "Which cells.",
    "shapes": "Which shapes, or groups of them, brief and every.",
    "ragged": "Shapes that are measured with lengths, too.",
    "what": "Calls, training steps, or both.",
    "precisions": "How products are rounded.",
    "devices": "Devices of the model.",
}
GROUPS = {"brief": BRIEF, "every": EVERY}


def parsed() -> argparse.Namespace:
    """The options, their lists made lists."""
    shapes = {named(s): s for s in (*EVERY, *BRIEF, *RAGGED)}
    known: dict[str, Any] = {
        "cells": CELLS, "shapes": shapes, "ragged": shapes, "what": WHAT, "precisions": PRECISIONS,
        "devices": [d.name for d in DEVICES],
    }  # fmt: skip
    given = {"cells": CELLS, "shapes": ["brief"], "ragged": map(named, RAGGED), "what": WHAT, "precisions": PRECISIONS,
             "devices": [DEVICES[0].name]}  # fmt: skip
    options = arguments(
        __doc__,
        rounds=(5, TURNS),
        minutes=(7.0, "Rows that are not begun after so many minutes are left out."),
        model=(0, "1: what is expected from the kernels' code, even where there is a GPU."),
        json=("", "A file to write the rows into, as they come."),
        markdown=("", MARKDOWN),
        join=("", "Files of rows, by commas, that are made one table; nothing is measured."),
        **{name: (",".join(names), TOLD[name]) for name, names in given.items()},
    )
    for name, every in known.items():
        chosen = [k.strip() for k in getattr(options, name).split(",") if k]
        if name == "shapes":
            chosen = [c for k in chosen for c in (map(named, GROUPS[k]) if k in GROUPS else [k])]
        for k in chosen:
            if k not in every:
                raise SystemExit(f"--{name}: {k!r} is none of {', '.join(every)}")
        setattr(options, name, [every[k] for k in chosen] if name in ("shapes", "ragged") else chosen)
    return options


def found(options: argparse.Namespace) -> tuple[str, list[dict]]:
    """The machine and the rows: of files, of the model, or measured."""
    device = None if options.model or options.join else at_hand()
    if options.join:
        parts = [json.loads(Path(name).read_text()) for name in options.join.split(",")]
        return parts[0]["machine"], [row for part in parts for row in part["rows"]]
    if device is None:
        return gpu_model.NO_GPU, kept(options, gpu_model.NO_GPU, gpu_model.modelled(options))
    from .on_device import measured

    machine, rows = measured(options, device)
    return machine, kept(options, machine, rows)


def kept(options: argparse.Namespace, machine: str, rows: Iterable[dict]) -> list[dict]:
    """The rows, written to a file as they come: what is measured is not lost with what comes after."""
    made: list[dict] = []
    for row in rows:
        made.append(row)
        if options.json:
            Path(options.json).write_text(json.dumps({"machine": machine, "rows": made}, indent=1))
    return made


def main() -> None:
    options = parsed()
    machine, rows = found(options)
    model = any("which" in r for r in rows)
    kind = gpu_model if model else gpu_table
    unit = "Microseconds of a step, forward + backward" if model else "Milliseconds, medians of calls in turns"
    sections = list(kind.sections(rows))
    print(f"\n{unit}. {machine}.")
    for title, head, lines in sections:
        print(f"\n{title}\n{table(head, lines)}")
    if not model:
        print(f"\npublished for an LSTM, H768 B16 T1024, on an H100, ms forward, and with backward: {FLASHRNN}")
    if options.markdown:
        text = "\n\n".join(f"### {title}\n\n{as_markdown(head, lines)}" for title, head, lines in sections)
        into_page(options.markdown, "gpu model" if model else "gpu", f"{unit}. {machine}.\n\n{text}")
    verdict(options, kind.missed(rows))


if __name__ == "__main__":
    main()
