"""What a driver is asked for to load and launch a kernel, by one that notes it down; and what is missing without."""

import ast
import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rnncore import folders
from rnncore.cuda import driver as drivers
from rnncore.cuda import loaded, target
from rnncore.cuda.driver import Driver, DriverError
from rnncore.cuda.linker import Report
from rnncore.cuda.loaded import Loaded

REPORT = Report("kernel_name", "ptx", b"cubin", 24, 0, 0, 0, 0, 0)
ATTRIBUTES = {1: 1024, 16: 132, 75: 9, 76: 0, 95: 1, 97: 232448}


class Fake:
    """A libcuda without a device behind it."""

    def __init__(self, devices=1, status=0, current=None, cuda=12080, capability=(9, 0)):
        self.devices, self.status, self.current, self.noted = devices, status, current, []
        self.cuda, self.attributes = cuda, {**ATTRIBUTES, 75: capability[0], 76: capability[1]}

    def cuInit(self, flags):
        return self.status

    def cuGetErrorString(self, status, text):
        text._obj.value = b"out of order"

    def cuDriverGetVersion(self, version):
        version._obj.value = self.cuda

    def cuDeviceGetCount(self, many):
        many._obj.value = self.devices

    def cuCtxGetCurrent(self, context):
        context._obj.value = self.current

    def cuDeviceGet(self, device, index):
        device._obj.value = index

    def cuDevicePrimaryCtxRetain(self, context, device):
        context._obj.value = 77

    def cuCtxSetCurrent(self, context):
        self.current = context.value

    def cuCtxGetDevice(self, device):
        device._obj.value = 0

    def cuDeviceGetAttribute(self, value, which, device):
        value._obj.value = self.attributes[which]

    def cuDeviceGetName(self, text, length, device):
        text.value = b"a GPU"

    def cuDeviceTotalMem_v2(self, many, device):
        many._obj.value = 139 << 30

    def cuModuleLoadData(self, module, cubin):
        self.noted.append(("load", cubin))
        module._obj.value = 5

    def cuModuleGetFunction(self, function, module, name):
        self.noted.append(("function", module.value, name))
        function._obj.value = 6

    def cuFuncSetAttribute(self, function, which, value):
        self.noted.append(("attribute", function.value, which, value))

    def cuOccupancyMaxActiveBlocksPerMultiprocessor(self, many, function, threads, shared_bytes):
        many._obj.value = 2

    def _launch(self, how, function, *rest):
        *shape, stream, places = rest
        words = [ctypes.c_int64.from_address(place).value for place in places]
        self.noted.append((how, function.value, [number.value for number in shape], stream.value, words))
        return self.status

    def cuLaunchKernel(self, *given):
        *given, extra = given
        assert extra is None
        return self._launch("plain", *given)

    def cuLaunchCooperativeKernel(self, *given):
        return self._launch("cooperative", *given)


@pytest.fixture
def fake(monkeypatch):
    """A library in the driver's place, and code that needs no compiler."""
    library = Fake()
    made = Driver(library)
    for module in (loaded, target, drivers):
        monkeypatch.setattr(module, "driver", lambda: made)
    monkeypatch.setattr(loaded, "code_of", lambda text, capability: library.noted.append(capability) or REPORT)
    target._properties.cache_clear()
    yield library
    target._properties.cache_clear()


def vector(address, many, typestr="<f4", strides=None):
    seen = {"shape": (many,), "typestr": typestr, "data": (address, False), "strides": strides, "version": 3}
    return SimpleNamespace(__cuda_array_interface__=seen)


def test_a_kernel_is_loaded_once_and_launched_with_its_arrays(fake):
    kernel = Loaded("text")
    for cooperative in (True, False):
        kernel.launch(3, 64, 1024, [vector(1 << 40, 10), vector(512, 2, "<i8", (8,)), 7], cooperative, stream=9)
    words = [0, 0, 10, 4, 1 << 40, 10, 4, 0, 0, 2, 8, 512, 2, 8, 7]
    shape = [3, 1, 1, 64, 1, 1, 1024]
    assert fake.current == 77
    assert fake.noted == [
        (9, 0), ("load", b"cubin"), ("function", 5, b"kernel_name"),
        ("cooperative", 6, shape, 9, words), ("plain", 6, shape, 9, words),
    ]  # fmt: skip


def test_much_shared_memory_is_asked_for_once(fake):
    kernel = Loaded("text")
    for shared_bytes in (49152, 60000, 50000, 70000):
        kernel.launch(1, 32, shared_bytes, [], False, stream=0)
    assert [note[3] for note in fake.noted if note[0] == "attribute"] == [60000, 70000]


def test_every_context_has_its_kernel(fake):
    kernel = Loaded("text")
    for context in (1, 2, 1):
        fake.current = context
        kernel.launch(1, 32, 0, [], False, stream=0)
    assert [note[0] for note in fake.noted].count("load") == 2


def test_more_blocks_than_run_at_once_do_not_wait_for_one_another(fake):
    kernel = Loaded("text")
    kernel.launch(264, 256, 1000, [], True, stream=0)
    with pytest.raises(DriverError, match="265 blocks of 256 threads .* 264 run at once"):
        kernel.launch(265, 256, 1000, [], True, stream=0)
    kernel.launch(265, 256, 1000, [], False, stream=0)
    launched = [note for note in fake.noted if isinstance(note, tuple) and len(note) == 5]
    assert [note[2][0] for note in launched] == [264, 265]


def test_what_the_device_offers(fake, monkeypatch):
    monkeypatch.setattr(target, "simulated", False)
    assert target.properties() == target.Properties("a GPU", (9, 0), 132, 232448, 1024, 139 << 30)
    assert Loaded("text").resident(256, 1000) == 264
    assert isinstance(target.load("text of a kernel"), Loaded)
    target.load.cache_clear()


def test_a_launch_that_the_driver_refuses_is_an_error(fake):
    kernel = Loaded("text")
    kernel.launch(1, 32, 0, [], False, stream=0)
    fake.status = 719
    with pytest.raises(DriverError, match=r"cuLaunchKernel: out of order \(719\)"):
        kernel.launch(1, 32, 0, [], False, stream=0)


@pytest.mark.parametrize("array", [vector(0, 3, strides=(8,)), SimpleNamespace(__cuda_array_interface__={
    "shape": (2, 2), "typestr": "<f4", "data": (0, False)})])  # fmt: skip
def test_arrays_that_are_no_contiguous_vectors_are_an_error(fake, array):
    with pytest.raises(TypeError, match="a contiguous vector is read"):
        Loaded("text").launch(1, 32, 0, [array], False, stream=0)


@pytest.mark.parametrize("library, words", [
    (lambda: Fake(devices=0), "the NVIDIA driver finds no GPU"),
    (lambda: Fake(status=100), r"gives up: cuInit: out of order \(100\)"),
    (lambda: (_ for _ in ()).throw(OSError("libcuda.so.1")), "no NVIDIA driver on this machine"),
    (lambda: Fake(cuda=11040), r"the NVIDIA driver is one for CUDA 11\.4: 12\.0 or newer is needed"),
    (lambda: Fake(capability=(7, 0)), r"a GPU has compute capability 7\.0, 7\.5 or more is needed"),
])  # fmt: skip
def test_why_there_is_no_gpu(library, words, monkeypatch):
    monkeypatch.setattr(drivers, "driver", lambda: Driver(library()))
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(drivers.unavailable())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_that_the_gpu_is_its_parents(monkeypatch):
    made = Driver(Fake())
    monkeypatch.setattr(drivers, "_of_this_machine", lambda: made)
    assert drivers.driver() is made and drivers.lost() is None
    if (child := os.fork()) == 0:
        told = [text and "forked from one that uses the GPU" in text and "'spawn'" in text
                for text in (drivers.lost(), drivers.unavailable())]  # fmt: skip
        os._exit(0 if all(told) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(target.missing() is not None, reason="needs a GPU or the simulator")
def test_what_a_child_lost_is_an_error_before_anything_is_computed(monkeypatch):
    import rnncore as rn
    from rnncore.cuda import backend

    net = rn.Network(rn.cells.vanilla(2), inputs=2)
    params = net.init(device="cuda")
    monkeypatch.setattr(target, "simulated", False)
    monkeypatch.setattr(backend, "lost", lambda: "it is its parent's")
    with pytest.raises(rn.InputError, match="device 'cuda' is not available: it is its parent's"):
        net(params, np.ones((1, 1, 2)))


def test_what_is_missing_is_one_sentence_that_says_what_to_install(monkeypatch):
    assert target.missing() is None  # simulated
    monkeypatch.setattr(target, "simulated", False)
    install = "; install the packages with: pip install 'rnncore[cuda]'"
    for unavailable, to_compile, for_arrays, too_new, wanted in [
        (None, None, None, None, None),
        ("no GPU", None, None, None, "no GPU"),
        ("no GPU", "no numba-cuda", "no cupy", None, "no GPU; no numba-cuda; no cupy" + install),
        (None, None, "no cublas", None, "no cublas" + install),
        (None, None, None, "too new", "too new" + install),
    ]:
        monkeypatch.setattr(target, "unavailable", lambda reason=unavailable: reason)
        monkeypatch.setattr(target, "missing_to_compile", lambda reason=to_compile: reason)
        monkeypatch.setattr(target, "missing_for_arrays", lambda reason=for_arrays: reason)
        monkeypatch.setattr(target, "_too_new", lambda reason=too_new: reason)
        assert target.missing() == wanted


def test_packages_of_a_toolkit_that_the_driver_does_not_know(monkeypatch):
    bindings = SimpleNamespace(nvjitlink=SimpleNamespace(version=lambda: (13, 0)))
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=bindings))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    known = Fake(cuda=13000)
    monkeypatch.setattr(target, "driver", lambda: Driver(known))
    assert target._too_new() is None
    known.cuda = 12040
    told = "the installed packages are those of CUDA 13, the NVIDIA driver is one for CUDA 12.4"
    assert target._too_new() == told


def test_libraries_that_are_not_there_are_named(monkeypatch):
    class DynamicLibNotFoundError(Exception):
        pass

    def load(name):
        if name == "cublas":
            raise DynamicLibNotFoundError

    finder = SimpleNamespace(DynamicLibNotFoundError=DynamicLibNotFoundError, load_nvidia_dynamic_lib=load)
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", finder)
    monkeypatch.setattr(target, "_found", lambda module: True)
    assert target.missing_for_arrays() == "the library cublas of the CUDA toolkit is not installed"
    assert target.missing_to_compile() is None
    monkeypatch.setattr(target, "_found", lambda module: module != "cupy")
    assert target.missing_for_arrays() == "the package cupy is not installed"


def test_code_is_kept_and_read_back(monkeypatch, tmp_path):
    monkeypatch.setenv("RNNCORE_CACHE_DIR", str(tmp_path / "kernels"))
    made = []
    monkeypatch.setattr(target, "compiled", lambda text, capability: made.append(capability) or REPORT)
    assert [loaded.code_of("text", (9, 0)) for _ in range(2)] == [REPORT] * 2 and made == [(9, 0)]
    loaded.code_of("text", (8, 0))
    (damaged, _) = sorted((tmp_path / "kernels").iterdir())
    assert folders.verified(damaged)
    (damaged / "kernel.cubin").write_bytes(b"other")
    assert loaded.code_of("text", (9, 0)) == loaded.code_of("text", (8, 0)) == REPORT
    assert len(made) == 3


def test_nothing_of_a_gpu_is_imported_to_ask_what_is_missing():
    script = "import rnncore.cuda.target as t, sys; t.simulated = False; t.missing();" \
             "print([m for m in ('numba', 'cupy', 'numba_cuda') if m in sys.modules])"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_vector_of_numpy_is_no_array_of_the_device(fake):
    with pytest.raises(AttributeError, match="__cuda_array_interface__"):
        Loaded("text").launch(1, 32, 0, [np.zeros(3, np.float32)], False, stream=0)


def test_the_hash_covers_every_source_that_texts_import():
    here, found, waiting = Path(loaded.__file__).parent, {"target.py", "linker.py"}, ["device.py", "tiles.py"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.walk(ast.parse((here / name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                modules = [node.module] if node.module else [alias.name for alias in node.names]
                waiting += ["../" * (node.level - 1) + f"{module}.py" for module in modules]
    assert found == set(loaded._SOURCES)
