"""What tests share as importable modules; with ``RNNCORE_EVERY_KERNEL``, the kernels of every test compiled."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

if os.environ.get("RNNCORE_NO_POOL"):  # where an array ends, a pool's memory does not
    import cupy

    cupy.cuda.set_allocator(None)

TESTS = Path(__file__).parents[1]
if str(TESTS.parent) not in sys.path:
    sys.path.insert(0, str(TESTS.parent))  # benchmarks, which parse PTX
for name, path in {
    "laws": TESTS / "conformance" / "test_laws.py",
    "writers": TESTS / "conformance" / "writers.py",
    "ptx": TESTS / "ptx" / "__init__.py",
    "generations": TESTS / "cuda" / "generations.py",
}.items():
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])

EVERY_KERNEL = bool(os.environ.get("RNNCORE_EVERY_KERNEL"))
loaded = []

if EVERY_KERNEL:
    import generations

    from rnncore.cuda import simulator, target

    class Recording(simulator.Simulated):
        """A kernel in the simulator whose text is compiled at the end of the test that asked for it first."""

        def __init__(self, text):
            loaded.append(text)
            super().__init__(text)

    target.Simulated = Recording


@pytest.fixture(autouse=EVERY_KERNEL)
def every_kernel(record_property):
    """Compiles and links what the test loaded, and says what is spilled."""
    yield
    texts = loaded.copy()
    loaded.clear()
    for text in texts:
        for capability, report in generations.reports(text).items():
            assert report["float64_instructions"] == 0, f"{capability}: {report}"
            record_property("kernel", (capability, report["registers"], report["stack_bytes"], report["spill_loads"]))


def pytest_terminal_summary(terminalreporter):
    """How many kernels were compiled, and which of them spill what."""
    ended = [report for report in terminalreporter.getreports("") if report.when == "teardown"]
    made = {report.nodeid: report.user_properties for report in ended}
    kernels = [(test, *value) for test, values in made.items() for name, value in values if name == "kernel"]
    if kernels:
        terminalreporter.write_line(f"{len(kernels)} kernels were compiled and linked; what they spill:")
    for test, capability, registers, stack, loads in kernels:
        if stack or loads:
            takes = f"{registers} registers, {stack} bytes of stack, {loads} loaded"
            terminalreporter.write_line(f"{test} {capability}: {takes}")
