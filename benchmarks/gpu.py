"""How fast are layers on a GPU against PyTorch with cuDNN, and against the least time that the device allows?

``python -m benchmarks.gpu`` prints a row for every cell, shape, precision, and inference or training: times by CUDA
events, medians of calls in turns, of arrays that are on the device and stay there. PyTorch has `nn.LSTM`, `nn.GRU`,
`nn.RNN` in the row's precision and in fp16 where cuDNN's persistent kernels apply, and a loop in Python for cells that
it lacks. The floor is computed from multiply-adds, bytes and waits (`benchmarks.devices`); the time of a barrier is
measured first.

Where no GPU is at hand, or with ``--model 1``, a row has the kernels' expected time a step from their own code
(`benchmarks.expected`) next to the floor, and registers and spills; a spill or a float64 instruction is a bar missed.

``--cells``, ``--shapes``, ``--what``, ``--precisions``, ``--rounds``, ``--json``, ``--markdown`` and ``--join`` are
those of `benchmarks.compare`; ``--ragged`` names the shapes that are measured with lengths too.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .common import arguments, case, geomean, into_page, named, table, verdict
from .compare import as_markdown
from .devices import DEVICES, Device, at_hand, measured_barrier, step_floor, work

CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {}), "gru": ("gru", {"reset": "after"}), "gru-before": ("gru", {"reset": "before"}),
    "vanilla": ("vanilla", {}), "mgu": ("mgu", {}), "lem": ("lem", {}), "cornn": ("cornn", {}),
}  # fmt: skip
CUSTOM = ("mgu", "lem", "cornn")  # of `benchmarks.peers.custom`
UNITS, BATCHES = (64, 128, 256, 512, 1024, 2048), (1, 16, 64, 256)
SHAPES = [(b, 100, h, h) for h in UNITS for b in BATCHES]
SHAPES += [(1, 1000, 512, 512), (64, 1000, 128, 128), (16, 1024, 768, 768)]
RAGGED = [(64, 100, h, h) for h in (128, 512)]
WHAT = ("infer", "train")
PRECISIONS = ("float32", "tf32", "bf16")
PERSISTENT, WHOLE, ROW, LOOP, SHARE = 1.5, 1.0, 0.8, 20.0, 0.8
PUBLISHED = {  # ms on an H100, LSTM H768 B16 T1024: Pöppel et al. 2024, arXiv:2412.07752; forward, forward and backward
    "nn.LSTM fp16": (2.01, 5.19), "FlashRNN fused bf16": (4.87, 13.61), "haste float32": (18.4, 43.9),
    "PyTorch loop": (147.0, 484.0),
}  # fmt: skip
MODELLED = (DEVICES[0], DEVICES[2])
NO_GPU = "no GPU has run this: what is expected is a model of the machine that runs the kernels' PTX, float32"


def one_of(cell: str, shape: tuple[int, int, int, int]):
    """The case of a row, on the host."""
    from .custom import randomised
    from .peers.custom import CUSTOM as OWN

    name, options = CELLS[cell]
    return randomised(case(OWN[name].cell if cell in CUSTOM else name, shape, **options))


def network(cell: str, units: int) -> Any:
    """The layer of a row, without parameters."""
    import rnncore as rn

    from .peers.custom import CUSTOM as OWN

    name, options = CELLS[cell]
    return rn.Network((OWN[name].cell if cell in CUSTOM else rn.cells[name])(units, **options), inputs=units)


def persistent(cell: str, shape: tuple[int, int, int, int], what: str) -> bool:
    """Whether cuDNN has a persistent kernel in fp16: its rules, as PyTorch asks them."""
    batch, _, inputs, units = shape
    if cell not in ("lstm", "gru"):
        return False
    small = units <= (128 if what == "train" else 192)
    whole = cell == "lstm" and units <= 1024 and not (units % 128 or inputs % 128 or batch % 8) and batch <= 128
    return small or whole


# where there is a GPU
def measured(options: argparse.Namespace, device: Device) -> tuple[str, list[dict]]:
    """The machine and the rows of a run."""
    from .on_device import offered, rows_of, seconds_of, versions

    device = replace(device, barrier=measured_barrier(seconds_of))
    precisions = [p for p in options.precisions if p in offered()]
    cases = [(shape, None) for shape in options.shapes] + [(shape, drawn(shape)) for shape in options.ragged]
    rows = [
        row
        for cell in options.cells
        for shape, lengths in cases
        for precision in precisions
        for row in rows_of(cell, shape, precision, lengths, options, device)
    ]
    return f"{device.name}, a barrier {1e6 * device.barrier:.2f} µs, {versions()}, {time.strftime('%Y-%m-%d')}", rows


def drawn(shape: tuple[int, int, int, int]) -> np.ndarray:
    """Lengths of a ragged batch, uniform in 1..T."""
    return np.random.default_rng(0).integers(1, shape[1] + 1, shape[0])


def missed(rows: list[dict]) -> list[str]:
    """The bars that do not hold."""
    text = []
    for r in rows:
        if "fp16" in r["seconds"] and r["precision"] == best_precision(rows):
            times = r["seconds"]["ours"] / r["seconds"]["fp16"]
            if times > PERSISTENT:
                text.append(f"{name_of(r)}: {times:.2f} times cuDNN's persistent fp16; the bar is {PERSISTENT}")
    against = {name_of(r): r["seconds"]["torch"] / r["seconds"]["ours"] for r in rows if "torch" in r["seconds"]}
    if against and geomean(list(against.values())) < WHOLE:
        text.append(f"PyTorch: geometric mean {geomean(list(against.values())):.2f}; the bar is {WHOLE}")
    text += [f"{name}: {ratio:.2f} of PyTorch; the bar is {ROW}" for name, ratio in against.items() if ratio < ROW]
    loops = [r["seconds"]["loop"] / r["seconds"]["ours"] for r in rows if "loop" in r["seconds"]]
    if loops and geomean(loops) < LOOP:
        text.append(f"loops in Python: geometric mean {geomean(loops):.1f}; the bar is {LOOP:.0f}")
    return text + shares_missed(rows) if rows else ["nothing was measured"]


def best_precision(rows: list[dict]) -> str:
    """The fastest precision of those that were measured."""
    return max((r["precision"] for r in rows), key=PRECISIONS.index)


def shares_missed(rows: list[dict]) -> list[str]:
    """Cells of one's own that come less near to their floor than the LSTM of the same size, on average."""
    share = {(r["cell"], *key_of(r)): r["floor"] / r["seconds"]["ours"] for r in rows}
    text = []
    for cell in CUSTOM:
        ratios = [s / share["lstm", *key] for (c, *key), s in share.items() if c == cell and ("lstm", *key) in share]
        if ratios and geomean(ratios) < SHARE:
            text.append(f"{cell}: {geomean(ratios):.2f} of the LSTM's share of the floor; the bar is {SHARE}")
    return text


def key_of(r: dict) -> tuple:
    return r["what"], r["shape"], r["precision"], r["ragged"]


def name_of(r: dict) -> str:
    return f"{r['cell']} {r['what']} {r['shape']} {r['precision']}" + (" ragged" if r["ragged"] else "")


def shown(rows: list[dict]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table; times in ms."""
    columns = ("ours", "torch", "fp16", "loop")
    lines = []
    for r in rows:
        ms = [f"{1e3 * r['seconds'][c]:.3g}" if c in r["seconds"] else "–" for c in columns]
        others = [r["seconds"][c] for c in ("torch", "loop") if c in r["seconds"]]
        ratio = f"{min(others) / r['seconds']['ours']:.2f}" if others else "–"
        lines.append([name_of(r), *ms, ratio, f"{1e3 * r['floor']:.3g}", f"{r['seconds']['ours'] / r['floor']:.1f}"])
    head = ["", "ours", "PyTorch", "its fp16, persistent", "its loop", "PyTorch/ours", "floor", "ours/floor"]
    return head, lines


# where there is none
def modelled(options: argparse.Namespace) -> list[dict]:
    """A row for each cell, size and device: what the kernels' own code says of a step."""
    from rnncore.cuda import target

    from .expected import expected

    if reason := target.missing_to_compile():
        raise SystemExit(f"kernels are compiled without a GPU too, but {reason}: pip install 'rnncore[cuda]'")
    rows = []
    for cell in options.cells:
        for units in sorted({shape[3] for shape in options.shapes}):
            net = network(cell, units)
            parts = dict(zip(("forward", "backward"), work(net, "train")))
            for batch in sorted({shape[0] for shape in options.shapes if shape[3] == units}):
                for device in MODELLED:
                    for which, found in expected(net, batch, device).items():
                        least, bound = step_floor(parts[which], batch, device)
                        row = {"cell": cell, "which": which, "units": units, "batch": batch, "device": device.name}
                        rows.append(row | found.as_dict() | {"floor": least, "floor_bound": bound})
    return rows


def shown_model(rows: list[dict]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the model's table; microseconds of a step."""
    head = ["", "device", "slices x blocks", "weights", "registers", "spills", "expected", "bound by", "floor", "of it",
            "expected/floor"]  # fmt: skip
    lines = []
    for r in rows:
        lines.append([
            f"{r['cell']} {r['which']} H{r['units']} B{r['batch']}", r["device"], f"{r['slices']} x {r['members']}",
            "shared" if r["resident"] else "L2", str(r["registers"]), str(r["spills"]), f"{1e6 * r['seconds']:.2f}",
            r["bound"], f"{1e6 * r['floor']:.2f}", r["floor_bound"], f"{r['seconds'] / r['floor']:.1f}",
        ])  # fmt: skip
    return head, lines


def missed_model(rows: list[dict]) -> list[str]:
    """What no kernel may have, whatever a step takes."""
    text = []
    for r in rows:
        name = f"{r['cell']} {r['which']} H{r['units']} B{r['batch']} on {r['device']}"
        text += [f"{name}: {r['spills']} bytes of registers spilled"] * bool(r["spills"])
        text += [f"{name}: {r['float64']} float64 instructions"] * bool(r["float64"])
    return text


def parsed() -> argparse.Namespace:
    """The options, their lists made lists."""
    shapes = {named(s): s for s in SHAPES}
    given = {"cells": ",".join(CELLS), "shapes": ",".join(shapes), "ragged": ",".join(map(named, RAGGED)),
             "what": ",".join(WHAT), "precisions": ",".join(PRECISIONS)}  # fmt: skip
    options = arguments("Speed on a GPU, or what the kernels' code lets expect of one.", rounds=9, **given, model=0,
                        json="", markdown="", join="")  # fmt: skip
    known: dict[str, Any] = {"cells": CELLS, "shapes": shapes, "what": WHAT, "precisions": PRECISIONS,
             "ragged": {named(s): s for s in RAGGED}}  # fmt: skip
    for name, every in known.items():
        chosen = [k.strip() for k in getattr(options, name).split(",") if k]
        for k in chosen:
            if k not in every:
                raise SystemExit(f"--{name}: {k!r} is none of {', '.join(every)}")
        setattr(options, name, [every[k] for k in chosen] if name in ("shapes", "ragged") else chosen)
    return options


def main() -> None:
    options = parsed()
    device = None if options.model else at_hand()
    if options.join:
        parts = [json.loads(Path(name).read_text()) for name in options.join.split(",")]
        machine, rows = parts[0]["machine"], [row for part in parts for row in part["rows"]]
    elif device is None:
        machine, rows = NO_GPU, modelled(options)
    else:
        machine, rows = measured(options, device)
    model = "which" in rows[0]
    head, lines = shown_model(rows) if model else shown(rows)
    unit = "microseconds of a step" if model else "milliseconds, medians of calls in turns"
    print(f"\n{unit}; {machine}\n\n{table(head, lines)}")
    if not model:
        print(f"\npublished for an LSTM, H768 B16 T1024, on an H100, ms forward, and with backward: {PUBLISHED}")
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    if options.markdown:
        text = f"{unit[0].upper()}{unit[1:]}. {machine}.\n\n{as_markdown(head, lines)}"
        into_page(options.markdown, "gpu model" if model else "gpu", text)
    verdict(options, missed_model(rows) if model else missed(rows))


if __name__ == "__main__":
    main()
