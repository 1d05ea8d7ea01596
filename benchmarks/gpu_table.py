"""The table of measured rows of `benchmarks.gpu`, and the bars that it is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .common import geomean
from .gpu_rows import CUSTOM, PRECISIONS

__all__ = ["missed", "name_of", "sections"]

PERSISTENT, WHOLE, ROW, LOOP, SHARE = 1.5, 1.0, 0.8, 20.0, 0.8
COLUMNS = {"ours": "ours", "torch": "PyTorch", "fp16": "its fp16, persistent", "loop": "its loop"}
Table = tuple[str, list[str], list[list[str]]]  # title, head, rows


def missed(rows: list[dict]) -> list[str]:
    """The bars that do not hold, and rows that failed."""
    text = [f"{name_of(r)}: {r['failed']}" for r in rows if "failed" in r]
    rows = [r for r in rows if "failed" not in r]
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
    return text + _shares_missed(rows) if rows else [*text, "nothing was measured"]


def best_precision(rows: list[dict]) -> str:
    """The fastest precision of those that were measured."""
    return max((r["precision"] for r in rows), key=PRECISIONS.index)


def _shares_missed(rows: list[dict]) -> list[str]:
    """Cells of one's own that come less near to their floor than the LSTM of the same size, on average."""
    share = {(r["cell"], *_key_of(r)): r["floor"] / r["seconds"]["ours"] for r in rows}
    text = []
    for cell in CUSTOM:
        ratios = [s / share["lstm", *key] for (c, *key), s in share.items() if c == cell and ("lstm", *key) in share]
        if ratios and geomean(ratios) < SHARE:
            text.append(f"{cell}: {geomean(ratios):.2f} of the LSTM's share of the floor; the bar is {SHARE}")
    return text


def _key_of(r: dict) -> tuple:
    return r["what"], r["shape"], r["precision"], r["ragged"]


def name_of(r: dict) -> str:
    return f"{r['cell']} {_label(r)}"


def _label(r: dict) -> str:
    return f"{r['what']} {r['shape']} {r['precision']}" + (" ragged" if r["ragged"] else "")


def sections(rows: list[dict]) -> Iterator[Table]:
    """A table of each cell, with the means of its ratios at the end; times in ms."""
    for cell in dict.fromkeys(r["cell"] for r in rows):
        mine = [r for r in rows if r["cell"] == cell]
        good = [r for r in mine if "failed" not in r]
        lines = [_line(r) for r in mine]
        if good:
            ratios = [ratio for r in good if (ratio := _ratio(r))]
            over = geomean([r["seconds"]["ours"] / r["floor"] for r in good])
            mean = f"{geomean(ratios):.2f}" if ratios else "–"
            lines.append(["geometric mean", *[""] * len(COLUMNS), mean, "", f"{over:.1f}"])
        yield cell, ["", *COLUMNS.values(), "PyTorch/ours", "floor", "ours/floor"], lines


def _ratio(r: dict) -> float | None:
    """PyTorch's time in the row's precision, in ours."""
    others = [r["seconds"][c] for c in ("torch", "loop") if c in r["seconds"]]
    return min(others) / r["seconds"]["ours"] if others else None


def _line(r: dict[str, Any]) -> list[str]:
    if "failed" in r:
        return [_label(r), "failed", *[""] * (len(COLUMNS) + 2)]
    ms = [f"{1e3 * r['seconds'][c]:.3g}" if c in r["seconds"] else "–" for c in COLUMNS]
    ratio = f"{_ratio(r):.2f}" if _ratio(r) else "–"
    return [_label(r), *ms, ratio, f"{1e3 * r['floor']:.3g}", f"{r['seconds']['ours'] / r['floor']:.1f}"]
