"""What kernels' own code lets expect of a step on devices that are not there: rows of `benchmarks.gpu --model 1`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from .common import geomean
from .devices import DEVICES, step_floor, work
from .gpu_rows import PRECISIONS, network

__all__ = ["NO_GPU", "missed", "modelled", "sections"]

NO_GPU = "No GPU has run this: what is expected is a model of the machine that runs the kernels' PTX"
WHICH = ("forward", "backward")
Table = tuple[str, list[str], list[list[str]]]  # title, head, rows


def modelled(options: argparse.Namespace) -> list[dict]:
    """A row for each cell, size, precision, device, forward and backward."""
    from rnncore.cuda import target

    from .expected import expected

    if reason := target.missing_to_compile():
        raise SystemExit(f"kernels are compiled without a GPU too, but {reason}: pip install 'rnncore[cuda]'")
    devices = {d.name: d for d in DEVICES}
    sizes = sorted({(shape[3], shape[0]) for shape in options.shapes})
    rows = []
    for cell in options.cells:
        for units, batch in sizes:
            net = network(cell, units)
            parts = dict(zip(WHICH, work(net, "train"), strict=True))
            for device in (devices[name] for name in options.devices):
                for precision in options.precisions:
                    for which, found in expected(net, batch, device, precision).items():
                        least, bound = step_floor(parts[which], batch, device, precision)
                        row = {"cell": cell, "which": which, "units": units, "batch": batch, "device": device.name}
                        row |= {"precision": precision, "floor": least, "floor_bound": bound}
                        rows.append(row | found.as_dict())
    return rows


def sections(rows: list[dict]) -> Iterator[Table]:
    """A table of means, then one of each device and cell; microseconds of a step."""
    precisions = [p for p in PRECISIONS if any(r["precision"] == p for r in rows)]
    steps = _steps(rows)
    devices, cells = (list(dict.fromkeys(r[name] for r in rows)) for name in ("device", "cell"))
    yield _means(steps, devices, cells, precisions)
    head = ["", "slices x blocks", *(text for p in precisions for text in (p, "floor", "ratio")), "registers", "spills"]
    for device in devices:
        for cell in cells:
            mine = {key[2:]: step for key, step in steps.items() if key[:2] == (device, cell)}
            sizes = sorted({key[:2] for key in mine})
            lines = [_line(size, [mine.get((*size, p)) for p in precisions]) for size in sizes]
            ratios = [_mean([_ratio(s) for key, s in mine.items() if key[2] == p], 1) for p in precisions]
            lines.append(["geometric mean", "", *(text for mean in ratios for text in ("", "", mean)), "", ""])
            yield f"{cell}, {device}", head, lines


def _steps(rows: list[dict]) -> dict[tuple, list[dict]]:
    """The kernels of a training step: by device, cell, units, batch, precision."""
    found: dict[tuple, list[dict]] = {}
    for r in rows:
        found.setdefault((r["device"], r["cell"], r["units"], r["batch"], r["precision"]), []).append(r)
    return found


def _ratio(step: list[dict]) -> float:
    """What is expected forward and backward, in floors."""
    return sum(r["seconds"] for r in step) / sum(r["floor"] for r in step)


def _mean(values: list[float], digits: int) -> str:
    return f"{geomean(values):.{digits}f}" if values else "–"


def _line(size: tuple[int, int], steps: list[list[dict] | None]) -> list[str]:
    """The row of a size; its precisions side by side."""
    kernels: list[dict[str, Any]] = [r for step in steps if step for r in step]
    first = kernels[0]
    held = "" if all(r["resident"] for r in kernels[:2]) else ", L2"
    cells = []
    for step in steps:
        if step is None:
            cells += ["–"] * 3
            continue
        expected, least = (" + ".join(f"{1e6 * r[k]:.2f}" for r in step) for k in ("seconds", "floor"))
        cells += [expected, least, f"{_ratio(step):.1f}"]
    most = [str(max(r[k] for r in kernels)) for k in ("registers", "spills")]
    return [f"H{size[0]} B{size[1]}", f"{first['slices']} x {first['members']}{held}", *cells, *most]


def _means(steps: dict[tuple, list[dict]], devices: list[str], cells: list[str], precisions: list[str]) -> Table:
    """By cell: the mean ratio to the floor, and its share of the floor in the LSTM's of the same size."""
    head = ["", *(text for p in precisions for text in (f"{p}, ratio", "of the LSTM's share"))]
    lines = []
    for device in devices:
        for cell in cells:
            line = [f"{cell}, {device}"]
            for p in precisions:
                own = {k[2:]: _ratio(s) for k, s in steps.items() if k[:2] == (device, cell) and k[4] == p}
                of_lstm = {k[2:]: _ratio(s) for k, s in steps.items() if k[:2] == (device, "lstm")}
                shares = [of_lstm[k] / ratio for k, ratio in own.items() if k in of_lstm]
                line += [_mean(list(own.values()), 1), _mean(shares, 2)]
            lines.append(line)
    return "Geometric means", head, lines


def missed(rows: list[dict]) -> list[str]:
    """What no kernel may have, whatever a step takes."""
    text = []
    for key in dict.fromkeys((r["cell"], r["which"], r["device"]) for r in rows):
        kernels = [r for r in rows if (r["cell"], r["which"], r["device"]) == key]
        for name, what in (("spills", "bytes of registers spilled"), ("float64", "float64 instructions")):
            worst = max(kernels, key=lambda r: r[name])
            if worst[name]:
                many = sum(bool(r[name]) for r in kernels)
                at = f"H{worst['units']} B{worst['batch']} {worst['precision']}"
                text.append(f"{key[0]} {key[1]} on {key[2]}: {worst[name]} {what} at {at}, in {many} rows")
    return text
