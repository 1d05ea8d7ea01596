"""The GPU's table without a GPU: floors by hand, judgement, launches that would be made, the model of a machine."""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import rnncore as rn
from benchmarks import gpu, gpu_model, gpu_rows, gpu_table, on_device
from benchmarks.common import named, table
from benchmarks.devices import DEVICES, Work, floor, step_floor, work
from benchmarks.kernels import running
from benchmarks.kernels.integers import OPS
from benchmarks.kernels.launches import launches
from benchmarks.kernels.ptx import parsed
from benchmarks.kernels.usage import Launched
from rnncore.cuda import target

H200 = DEVICES[0]
SMALL = replace(
    H200, multiprocessors=10, clock=1e9, multiply_adds={"float32": 100.0, "tf32": 400.0}, shared_bytes=4000,
    memory_rate=1e9, l2_rate=1000, barrier=1e-6, sync=1e-8,
)  # fmt: skip


def test_sizes_are_divided_by_what_is_above_the_bits_of_a_product():
    """As compilers divide by constants: 24 columns are 3 tiles of 8, of which there are (n + 23) // 24."""
    n = np.array([0, 1, 23, 24, 4096, -5, 2**40 + 7])
    third = OPS["mul"](("mul", "hi", "s64"), n, np.int64(0x5555555555555556))
    np.testing.assert_array_equal(third, [int(x) * 0x5555555555555556 >> 64 for x in n])
    assert OPS["mul"](("mul", "hi", "u32"), np.int64(0x80000000), np.int64(6)) == 3
    assert OPS["mul"](("mul", "hi", "u64"), np.int64(-1), np.int64(3)) == 2
    assert OPS["mad"](("mad", "hi", "s64"), np.int64(-1), np.int64(3), np.int64(5)) == 4


def test_the_work_of_a_layer_is_that_of_its_equations():
    inputs, units = 3, 5
    net = rn.Network(rn.cells.lstm(units), inputs=inputs)
    (infer,) = work(net, "infer")
    assert (infer.loop, infer.outside, infer.stages) == (4 * units * units, 4 * units * inputs, 1)
    assert infer.moved == inputs + units
    forward, backward = work(net, "train")
    assert forward.loop == backward.loop == infer.loop and forward.moved > infer.moved
    assert backward.outside == 4 * units * inputs + 4 * units * (inputs + units)  # of dx, and of the weights' gradients
    assert work(rn.Network(rn.cells.gru(units, reset="before"), inputs=inputs), "infer")[0].stages == 2


def test_floors_are_what_is_computed_by_hand():
    held = Work(loop=1000, outside=200, weights=900, stages=2, moved=10)
    # one block a sequence: 1000 / 1e11 s of arithmetic = 10 ns, 2 * 2 * 10 ns of waiting, 40 bytes / 1e9 = 40 ns
    seconds, bound = step_floor(held, 1, SMALL)
    assert seconds == pytest.approx(40e-9) and bound in ("memory", "waiting")
    # 100 sequences on 10 multiprocessors: ten one after another 100 ns; 100 * 40 / 1e9 = 4 us of memory
    assert step_floor(held, 100, SMALL) == (pytest.approx(4e-6), "memory")
    free = replace(SMALL, memory_rate=1e15)
    assert step_floor(held, 100, free) == (pytest.approx(100e-9), "arithmetic")
    assert step_floor(held, 100, free, "tf32") == (pytest.approx(4e-8), "waiting")
    # 40,000 bytes of weights for 4,000 of one block: 36,000 / 64 a cycle, or a barrier of all for each of two stages
    assert step_floor(replace(held, weights=10_000), 1, free) == (pytest.approx(36_000 / 64e9), "L2")
    assert step_floor(replace(held, weights=1_000_000), 1, free) == (pytest.approx(3_960_000 / 1e12), "L2")
    # a call: 7 steps, and the products of all steps at the whole device's rate
    assert floor([held], 100, 7, free) == pytest.approx(7 * (100e-9 + 100 * 200 / 1e12))


def test_figures_of_devices_are_those_of_their_data_sheets():
    flops = {d.name: 2 * d.rate("float32") for d in DEVICES}
    assert flops["A100"] == pytest.approx(19.5e12, rel=0.01) and flops["H100"] == pytest.approx(67e12, rel=0.01)
    assert 2 * DEVICES[2].rate("bf16") == pytest.approx(312e12, rel=0.01)
    assert H200.properties().shared_bytes == 227 * 1024 and H200.l2_share < 64


@pytest.mark.parametrize("cell", gpu_rows.CELLS)
def test_the_launches_of_a_training_step_are_the_engines_own(cell):
    net = gpu_rows.network(cell, 8)
    found = launches(net, 3, H200.properties())
    assert list(found) == ["forward", "backward"]
    for one in found.values():
        members, slices = one.number("s_members"), one.number("s_slices")
        assert one.blocks == members * slices and one.number("s_batch") == 3 and one.resident
        assert one.shared_bytes <= H200.shared_bytes and one.threads % 32 == 0


def test_weights_that_do_not_fit_are_not_resident():
    two = replace(H200, multiprocessors=2).properties()
    assert not launches(gpu_rows.network("vanilla", 600), 1, two)["forward"].resident


HEAD = """
.visible .entry kernel(
	.param .u64 kernel_param_4, .param .u64 kernel_param_11, .param .u64 kernel_param_18, .param .u64 kernel_param_25,
	.param .u64 kernel_param_32, .param .u64 kernel_param_35
)
{
	.reg .b64 %rd<99>;
	ld.param.u64 	%rd1, [kernel_param_4];
	ld.param.u64 	%rd2, [kernel_param_25];
	mov.u32 	%r1, %tid.x;
	cvt.s64.s32 	%rd3, %r1;
"""


def used(body, threads=32, numbers=(5,), **more):
    given = {"numbers": np.array(numbers, np.int64), "chunk": 0, "block": 0, "blocks": 1, "threads": threads,
             "barrier": 1000.0, "multiply_adds": 128.0, "l2_bytes": 64.0, "near_bytes": 1 << 16} | more  # fmt: skip
    return running.run(parsed(HEAD + body + "\tret;\n}\n"), Launched(**given))


def access(stride, times=1, space="shared"):
    base = "mov.u64 %rd9, shm;" if space == "shared" else "mov.u64 %rd9, %rd1;"
    load = f"\tld.{space}.f32 %f1, [%rd6];\n" * times
    return f"\t{base}\n\tmul.lo.s64 %rd5, %rd3, {4 * stride};\n\tadd.s64 %rd6, %rd9, %rd5;\n{load}"


@pytest.mark.parametrize("stride, wavefronts", [(0, 1), (1, 1), (2, 2), (16, 16), (32, 32), (33, 1)])
def test_words_of_one_bank_come_one_after_another(stride, wavefronts):
    assert used(access(stride)).wavefronts == wavefronts


@pytest.mark.parametrize("stride, lines, sectors", [(0, 1, 1), (1, 1, 4), (2, 2, 8), (8, 8, 32), (32, 32, 32)])
def test_lines_and_sectors_of_the_devices_memory_are_counted(stride, lines, sectors):
    found = used(access(stride, 2, "global"))
    assert found.wavefronts == 2 * lines and found.l2_bytes == 32 * sectors  # the second time they are near


LOOP = """
	ld.global.u64 	%rd7, [%rd2];
	mov.u64 	%rd4, 0;
$L__BB0_1:
	shl.b64 	%rd5, %rd4, 2;
	add.s64 	%rd6, %rd1, %rd5;
	ld.global.f32 	%f1, [%rd6];
	fma.rn.f32 	%f2, %f1, %f1, %f2;
	add.s64 	%rd4, %rd4, 1;
	setp.{compare} 	%p1, %rd4, %rd7;
	@%p1 bra 	$L__BB0_1;
"""


@pytest.mark.parametrize("compare", ["lt.s64", "ne.s64"])
@pytest.mark.parametrize("rounds", [1, 7, 100, 1000])
def test_a_loop_is_foreseen_as_it_would_have_run(compare, rounds, monkeypatch):
    body = LOOP.format(compare=compare)
    short = used(body, numbers=(rounds,))
    monkeypatch.setattr(running, "WATCHED", 10_000)
    whole = used(body, numbers=(rounds,))
    for name in ("slots", "float32", "wavefronts", "l2_bytes"):
        assert getattr(short, name) == pytest.approx(getattr(whole, name), abs=0.05 * getattr(whole, name) + 64)
    assert short.cycles == pytest.approx(whole.cycles, rel=0.05)
    assert whole.wavefronts == rounds + 1 and whole.float32 == rounds and whole.slots >= 3 * rounds


def test_threads_take_their_own_branches_and_meet_behind_them():
    body = """
	setp.lt.s64 	%p1, %rd3, 16;
	@%p1 bra 	$L__BB0_2;
	fma.rn.f32 	%f2, %f1, %f1, %f2;
	bra.uni 	$L__BB0_3;
$L__BB0_2:
	sqrt.rn.f32 	%f2, %f1;
$L__BB0_3:
	bar.sync 	0;
"""
    both, one = used(body, threads=32), used(body, threads=16)
    assert both.slots > one.slots  # a warp that is divided runs both sides
    assert used(body, threads=64).slots > both.slots


def test_a_barrier_of_blocks_takes_its_time_and_empties_what_is_near():
    wait = "\tred.release.gpu.global.add.u32 [%rd1], 1;\n\tld.acquire.gpu.global.u32 %r9, [%rd1];\n"
    wait += "\tsetp.lt.s32 %p1, %r9, 1;\n\t@%p1 bra $L__BB0_9;\n$L__BB0_9:\n\tbar.sync 0;\n"
    load = access(1, 1, "global")
    assert used(load + wait + load).cycles > 1000 > used(load + load).cycles
    assert used(load + wait + load).l2_bytes - used(wait).l2_bytes == 2 * used(load).l2_bytes


def test_products_on_tensor_cores_take_their_time():
    one = "\tmma.sync.aligned.m16n8k{}.row.col.f32.{}.f32 {{%f1,%f2}}, {{%r2}}, {{%r3}}, {{%f1,%f2}};\n"
    tf32, bf16 = one.format(8, "tf32.tf32"), one.format(16, "bf16.bf16")
    assert used(tf32, threads=64).tensor == 2 * 16 * 8 * 8 and used(bf16).tensor == 16 * 8 * 16
    many = used(bf16 * 100, threads=256, tensor=100.0)
    assert many.cycles >= 8 * 100 * 2048 / 100 and max(many.bound, key=many.bound.get) == "tensor cores"


def test_launches_round_as_they_are_asked_to():
    net = gpu_rows.network("gru", 512)
    texts = {kind: launches(net, 256, H200.properties(), kind)["forward"].text for kind in ("", "tf32", "bf16")}
    assert len(set(texts.values())) == 3 and "tile_bf16" in texts["bf16"] and "tile_bf16" not in texts[""]
    assert list(launches(net, 1, H200.properties(), what="infer")) == ["infer"]


def row(cell="lstm", ratio=2.0, precision="float32", **seconds):
    found = {"ours": 1e-3, "loop" if cell in gpu_rows.CUSTOM else "torch": 1e-3 * ratio}
    return {"cell": cell, "what": "infer", "shape": named(gpu_rows.BRIEF[-12]), "precision": precision, "ragged": False,
            "seconds": found | seconds, "floor": 5e-4}  # fmt: skip


def test_every_bar_of_a_gpu_is_judged():
    assert gpu_table.missed([row(), row("mgu", 30.0)]) == []
    assert gpu_table.missed([]) == ["nothing was measured"]
    assert [t.split(":")[0] for t in gpu_table.missed([row(ratio=0.5)])] == ["PyTorch", gpu_table.name_of(row())]
    (slow,) = gpu_table.missed([row(ratio=3.0), row("gru", 0.7)])
    assert slow.endswith("0.70 of PyTorch; the bar is 0.8")
    (loops,) = gpu_table.missed([row(), row("mgu", 10.0)])
    assert loops == "loops in Python: geometric mean 10.0; the bar is 20"
    (cudnn,) = gpu_table.missed([row(fp16=5e-4)])
    assert "2.00 times cuDNN's persistent fp16" in cudnn
    assert gpu_table.missed([row(fp16=5e-4), row(precision="bf16", fp16=9e-4)]) == []  # judged by the fastest precision
    (share,) = gpu_table.missed([row(), row("mgu", 30.0) | {"floor": 3e-4}])
    assert share == "mgu: 0.60 of the LSTM's share of the floor; the bar is 0.8"


def test_a_row_that_fails_is_no_row_and_is_missed():
    failed = {k: v for k, v in row("gru").items() if k not in ("seconds", "floor")} | {"failed": "RuntimeError: no"}
    assert gpu_table.missed([row(), failed]) == [f"{gpu_table.name_of(failed)}: RuntimeError: no"]
    assert gpu_table.missed([failed])[1:] == ["nothing was measured"]
    (_, _, good), (title, head, bad) = gpu_table.sections([row(), failed])
    assert title == "gru" and bad[0][1] == "failed" and len(bad[0]) == len(head) and len(good) == 2


def test_cudnns_persistent_kernels_apply_where_they_do():
    small, large = (1, 100, 64, 64), (16, 100, 1024, 1024)
    assert gpu_rows.persistent("gru", small, "infer") and not gpu_rows.persistent("lem", small, "infer")
    assert gpu_rows.persistent("lstm", large, "train") and not gpu_rows.persistent("gru", large, "train")
    assert not gpu_rows.persistent("lstm", (1, 9, 512, 512), "infer")
    assert gpu_rows.persistent("vanilla", (96, 9, 768, 768), "train")
    assert not gpu_rows.persistent("vanilla", (96, 9, 1024, 1024), "train")


def test_rows_cover_every_size():
    assert len(set(gpu_rows.EVERY)) == 6 * 4 * 2 + 1 and set(gpu_rows.BRIEF) < set(gpu_rows.EVERY)
    for k, wanted in ((0, gpu_rows.BATCHES), (1, gpu_rows.STEPS), (3, gpu_rows.UNITS)):
        assert {shape[k] for shape in gpu_rows.BRIEF} >= set(wanted)


def test_tables_have_a_cell_for_every_column():
    (_, head, lines), (_, _, own) = gpu_table.sections([row(), row("mgu", 30.0)])
    assert all(len(line) == len(head) for line in lines + own) and own[0][2:5] == ["–", "–", "30"]
    assert "2.00" in table(head, lines) and lines[-1][0] == "geometric mean"


def modelled(cell="lstm", seconds=2e-6, **more):
    found = {"cell": cell, "which": "forward", "units": 64, "batch": 1, "device": "H200", "precision": "float32",
             "seconds": seconds, "bound": "issue", "slices": 1, "members": 1, "resident": True, "tensor": False,
             "registers": 100, "spills": 0, "float64": 0, "floor": 1e-6, "floor_bound": "waiting"} | more  # fmt: skip
    return [found, found | {"which": "backward"}]


def test_tables_of_the_model_set_steps_beside_their_floors():
    rows = modelled() + modelled(precision="bf16", seconds=1e-6) + modelled("mgu", 8e-6, resident=False, spills=8)
    means, lstm, mgu = gpu_model.sections(rows)
    assert lstm[2][0][2:8] == ["2.00 + 2.00", "1.00 + 1.00", "2.0", "1.00 + 1.00", "1.00 + 1.00", "1.0"]
    assert means[2] == [["lstm, H200", "2.0", "1.00", "1.0", "1.00"], ["mgu, H200", "8.0", "0.25", "–", "–"]]
    assert mgu[2][0][1] == "1 x 1, L2" and mgu[2][0][-1] == "8"
    for _, head, lines in (means, lstm, mgu):
        assert all(len(line) == len(head) for line in lines)
    assert gpu_model.missed(modelled()) == [] and len(gpu_model.missed(rows)) == 2
    assert len(gpu_model.missed(modelled(float64=1, spills=4))) == 4


@pytest.fixture
def clocked(monkeypatch):
    """PyTorch on the host and the simulator stand for a GPU: everything is called but events, and results agree."""
    torch = pytest.importorskip("torch")
    if not target.simulated:
        pytest.skip("a GPU is at hand")

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = time.perf_counter()

        def synchronize(self):
            pass

        def elapsed_time(self, other):
            return 1e3 * (other.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(on_device, "PLACE", "cpu")
    monkeypatch.setattr(on_device, "TURN", 0.0)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield argparse.Namespace(precisions=["float32", "tf32", "bf16"], what=["infer", "train"], rounds=1)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru-before", "vanilla", "mgu"])
@pytest.mark.parametrize("lengths", [None, np.array([3, 1])], ids=["whole", "ragged"])
def test_rows_are_measured_once_all_agree(cell, lengths, clocked):
    rows = list(on_device.rows_of(cell, (2, 3, 8, 8), lengths, clocked, H200))
    assert len(rows) == 6 and not any("failed" in r for r in rows), rows
    columns = {"ours"} | ({"torch"} if cell in ("lstm", "gru", "vanilla") else set())
    columns |= {"loop"} if cell == "mgu" and lengths is None else set()
    for r in rows:
        fp16 = r["precision"] == "bf16" and "torch" in columns and lengths is None
        assert set(r["seconds"]) == columns | ({"fp16"} if fp16 else set()) and r["floor"] > 0
    assert [len(lines) for _, _, lines in gpu_table.sections(rows)] == [7]


def test_a_row_whose_results_differ_fails_and_the_others_go_on(clocked, monkeypatch):
    right = on_device.layers(gpu_rows.one_of("gru", (2, 3, 8, 8)), "float32", None)
    far = {what: lambda f=f: 2 * f() for what, f in right.items()}
    monkeypatch.setattr(on_device, "layers", lambda one, kind, lengths: far)
    clocked.precisions = ["float32", "tf32"]
    rows = list(on_device.rows_of("gru", (2, 3, 8, 8), None, clocked, H200))
    assert len(rows) == 4 and all(r["failed"].startswith("RuntimeError: results differ by 1") for r in rows)


def test_time_that_is_over_leaves_rows_out(clocked, capsys):
    given = {"shapes": [(1, 2, 4, 4)] * 2, "ragged": [], "cells": ["gru"], "minutes": 1}
    assert list(on_device._rows(argparse.Namespace(**given), H200, 0.0)) == []
    assert "2 of 2 cells and shapes were left out after 1 minutes" in capsys.readouterr().out


def test_options_that_name_nothing_are_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu", "--cells", "lstm,none"])
    monkeypatch.setattr(
        gpu,
        "arguments",
        lambda text, **given: argparse.Namespace(**{k: v for k, (v, _) in given.items()} | {"cells": "lstm,none"}),
    )
    with pytest.raises(SystemExit, match="--cells: 'none' is none of lstm"):
        gpu.parsed()


def test_the_command_needs_no_gpu():
    """It says what is missing, or what is to be expected."""
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    rows = ["--model", "1", "--cells", "vanilla", "--shapes", "B1 T100 I64 H64", "--precisions", "float32"]
    command = [sys.executable, "-m", "benchmarks.gpu", *rows]
    found = subprocess.run(command, env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    if target.missing_to_compile():
        assert found.returncode and "rnncore[cuda]" in found.stderr and "Traceback" not in found.stderr
    else:
        assert "No GPU has run this" in found.stdout and "\nH64 B1 " in found.stdout
