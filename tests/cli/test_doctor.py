"""`rnncore doctor`: what the machine offers, and whether its kernels compute right."""

import re
import subprocess
import sys
from importlib import import_module

import pytest

from rnncore.cli import main
from rnncore.cuda import driver, target

doctor = import_module("rnncore.cli.doctor")  # the package's name is the function's


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def go(*argv):
        with pytest.raises(SystemExit) as left:
            main(["doctor", *argv])
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return go


class Two:
    """A driver with two devices."""

    def count(self):
        return 2

    def cuda(self):
        return 12, 8

    def name(self, device):
        return f"GPU {device}"

    def capability(self, device):
        return 9, device

    def memory_bytes(self, device):
        return 80 * 2**30

    def limits(self, device):
        return 132, 232448, 1024, True


def test_the_cpu_is_told_and_tried(run):
    status, out, _ = run()
    assert status == 0
    assert re.search(r"^rnncore +\d.*Python 3.*numpy.*numba", out, re.M)
    assert re.search(r"^cpu +\S+, \d+ of \d+ processors", out, re.M)
    assert re.search(r"^vectors +(128|256|512) bits, \d+ float32 or \d+ float64", out, re.M)
    assert re.search(r"^threads +at most \d+ a call", out, re.M)
    assert re.search(r"^trial cpu +\w+\(16\): right, off by [0-9.]+e-0\d of the largest output", out, re.M)
    assert re.search(r"^runs on +cpu", out, re.M)


def test_limits_are_named(run, monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "1")
    assert "at most 1 a call; limits: RNNCORE_NUM_THREADS=1" in run()[1]
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "many")
    status, _, err = run()
    assert status == 2 and "RNNCORE_NUM_THREADS must be a positive integer, got 'many'" in err


def test_the_folder_of_kernels_and_its_state(run, monkeypatch, tmp_path):
    monkeypatch.setenv("RNNCORE_CACHE_DIR", str(tmp_path / "kernels"))
    assert f"{tmp_path / 'kernels'}: 0 kept, 0.0 MiB" in " ".join(run()[1].split())
    bad = tmp_path / "kernels" / "bad"
    bad.mkdir()
    (bad / "kernel.o").write_bytes(b"?")
    assert "1 damaged, they are compiled anew when they are needed" in " ".join(run()[1].split())
    monkeypatch.setattr("rnncore.folders.usable_root", lambda: None)
    assert "cannot be used: it must be writable, and by you alone" in " ".join(run()[1].split())


@pytest.mark.skipif(not target.simulated, reason="of the simulator")
def test_a_simulated_gpu_is_tried_too(run):
    status, out, _ = run("--device", "cuda")
    assert status == 0 and re.search(r"^gpu +simulated", out, re.M)
    assert re.search(r"^trial cuda +\w+\(16\): right", out, re.M) and re.search(r"^runs on +cpu, cuda", out, re.M)


def test_devices_are_told(monkeypatch):
    monkeypatch.setattr(target, "simulated", False)
    monkeypatch.setattr(driver, "driver", Two)
    told = doctor._device()
    assert told.startswith("0: GPU 0, capability 9.0, 132 multiprocessors with 227 KiB shared, 80 GiB")
    assert "; 1: GPU 1, capability 9.1" in told and told.endswith("; the driver is one for CUDA 12.8")


def test_what_is_missing_is_told_and_is_the_status_where_it_is_wanted(run, monkeypatch):
    monkeypatch.setattr(target, "missing", lambda: "there is no driver; install it")
    status, out, _ = run("--device", "cuda")
    assert status == 1 and re.search(r"^missing +there is no driver; install it", out, re.M)
    assert "trial cuda" not in out and re.search(r"^runs on +cpu$", out, re.M)
    assert run()[0] == 0


def test_kernels_that_fail_or_compute_wrong_are_found(run, monkeypatch):
    monkeypatch.setattr(target, "missing", lambda: "nothing but a GPU")
    monkeypatch.setattr(doctor, "_BOUND", 1e-12)
    status, out, _ = run()
    assert status == 1 and "WRONG" in out and re.search(r"^runs on +nothing", out, re.M)
    monkeypatch.setattr("rnncore.network.Network.init", None)
    status, out, _ = run()
    assert status == 1 and re.search(r"^trial cpu +fails: TypeError", out, re.M)


def test_an_unknown_device_is_refused(run):
    status, _, err = run("--device", "tpu")
    assert status == 2 and "'tpu' is not one of 'cpu', 'cuda'" in err


def test_it_imports_nothing_of_the_gpu_s_packages():
    code = (
        "import sys, rnncore.cli\n"
        "try: rnncore.cli.main(['doctor'])\n"
        "finally: print([m for m in sys.modules if m.split('.')[0] in ('cupy', 'numba_cuda')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("[]\n"), done.stderr
