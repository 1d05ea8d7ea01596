"""What the tests of decoders share, and the interpreter of PTX, as importable modules."""

import importlib.util
import os
import sys
from pathlib import Path

if os.environ.get("RNNCORE_NO_POOL"):  # where an array ends, a pool's memory does not
    import cupy

    cupy.cuda.set_allocator(None)

TESTS = Path(__file__).parents[1]
if str(TESTS.parent) not in sys.path:
    sys.path.insert(0, str(TESTS.parent))  # benchmarks, which parse PTX
for name, path in {"writers": TESTS / "conformance" / "writers.py", "ptx": TESTS / "ptx" / "__init__.py"}.items():
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
