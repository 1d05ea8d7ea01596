"""What the tests of decoders share, as an importable module."""

import importlib.util
import os
import sys
from pathlib import Path

if os.environ.get("RNNCORE_NO_POOL"):  # where an array ends, a pool's memory does not
    import cupy

    cupy.cuda.set_allocator(None)

if "writers" not in sys.modules:
    path = Path(__file__).parents[1] / "conformance" / "writers.py"
    spec = importlib.util.spec_from_file_location("writers", path)
    sys.modules["writers"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["writers"])
