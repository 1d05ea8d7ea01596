"""The table's judgement, and what stands behind its figures: operations, turns, agreement, pages."""

import numpy as np
import pytest

import rnncore as rn
from benchmarks.common import case, geomean, in_turns, into_page, multiply_adds
from benchmarks.compare import CELLS, SHAPES, WHAT, means, missed, named, ours, shape_of, shown
from benchmarks.machine import Peak
from benchmarks.peers import agree


def rows(ratio=2.0, share=0.5, **other):
    """The whole table, every row alike but those that `other` gives another ratio."""
    found = []
    for cell in CELLS:
        for what in WHAT:
            for shape in map(named, SHAPES):
                r = other.get(f"{cell} {what} {shape}".replace(" ", "_").replace("-", "_"), ratio)
                found.append({"cell": cell, "what": what, "shape": shape, "ratio": r, "share": share, "best": "torch",
                              "seconds": {"ours": 0.001, "torch": 0.001 * r}})  # fmt: skip
    return found


def test_every_bar_is_judged():
    assert missed(rows()) == []
    (whole,) = missed(rows(1.2))
    assert whole.startswith("all 64 rows: geometric mean 1.20")
    assert len(missed(rows(1.05))) == 1 + len(CELLS) * len(WHAT)
    slow = {"lstm_infer_B1_T100_I32_H32": 0.9}
    (row,) = missed(rows(**slow))
    assert row.startswith("lstm infer B1 T100 I32 H32: 0.90 of torch at 50%")
    assert missed(rows(share=0.96, **slow)) == []  # at the peak nothing is faster


def test_nothing_compared_is_no_pass():
    assert missed([]) and missed([r | {"ratio": None} for r in rows()])


def test_means_are_by_block_and_over_all():
    found = means(rows(2.0))
    assert [name for name, *_ in found] == [*(f"{c} {w}" for c in CELLS for w in WHAT), "all rows"]
    assert all(mean == "2.00" for _, mean, *_ in found) and found[-1][-1] == "64"
    assert geomean([1.0, 4.0]) == pytest.approx(2.0)
    head, lines = shown(rows(), ["torch", "onnx"])
    assert lines[0] == ["lstm infer B1 T100 I32 H32", "1", "2", "–", "2.00", "50%"] and len(head) == 6


def test_operations_are_those_of_the_equations():
    assert multiply_adds(case("lstm", (1, 2, 3, 5))) == 4 * 5 * (3 + 5)
    assert multiply_adds(case("gru", (1, 2, 3, 5), reset="after")) == 3 * 5 * (3 + 5)
    assert multiply_adds(case("lstm", (1, 2, 3, 5), peephole="full")) == 4 * 5 * (3 + 5) + 3 * 5 * 5
    assert shape_of("B1 T100 I32 H32") == (1, 100, 32, 32)


def test_turns_call_all_alike():
    called = []
    taken = in_turns({k: lambda k=k: called.append(k) for k in "ab"}, rounds=2, calls=3, rest=1e-3)
    assert set(taken) == {"a", "b"} and called.count("a") == called.count("b") == 3 * 4
    assert called[:8] == ["a"] * 4 + ["b"] * 4


def test_other_results_are_not_timed():
    one = case("vanilla", (2, 3, 4, 5))
    y = ours(one)["infer"]()
    first = {"infer": lambda: y}
    agree(first, {"infer": lambda: y.swapaxes(0, 1)}, 1e-6)
    with pytest.raises(SystemExit, match="infer: results differ"):
        agree(first, {"infer": lambda: y.swapaxes(0, 1) + 0.1}, 1e-3)


def test_a_page_is_written_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- t -->\nold\n<!-- /t -->\nafter\n")
    into_page(str(page), "t", "new")
    into_page(str(page), "t", "newer")
    assert page.read_text() == "before\n<!-- t -->\n\nnewer\n\n<!-- /t -->\nafter\n"
    with pytest.raises(SystemExit, match="needs one <!-- other -->"):
        into_page(str(page), "other", "new")


def test_the_peak_is_no_less_than_a_librarys_product():
    peak = Peak(1)
    peak.measure()
    assert peak.value >= peak.library[0] > 1e8 and "own tile in cache" in str(peak)


@pytest.mark.peers
@pytest.mark.parametrize("dtype, bound", [("float32", 1e-4), ("float64", 1e-10)])
@pytest.mark.parametrize("cell", CELLS)
def test_peers_compute_the_same(cell, dtype, bound):
    from benchmarks.peers import PEERS, calls

    for package in ("torch", "onnxruntime", "jax"):
        pytest.importorskip(package)
    name, options = CELLS[cell]
    one = case(name, (3, 5, 4, 7), dtype, **options)
    one.params.flat[:] = 0.3 * np.random.default_rng(1).standard_normal(one.params.flat.size)
    for peer in PEERS:
        made = calls(peer, one, 1)
        assert made or (peer, cell) == ("torch", "gru-before") or (peer, dtype) == ("onnx", "float64")
        agree(ours(one), made, bound)


@pytest.mark.peers
def test_custom_peers_compute_the_same():
    from benchmarks.peers.custom import CUSTOM, calls

    for package in ("torch", "jax"):
        pytest.importorskip(package)
    for custom in CUSTOM.values():
        one = case(custom.cell, (3, 5, 4, 7))
        one.params.flat[:] = 0.3 * np.random.default_rng(1).standard_normal(one.params.flat.size)
        for peer in ("torch", "jax"):
            agree(ours(one), calls(peer, custom, one, 1), 1e-3)
    assert not set(CUSTOM) & set(rn.cells)
