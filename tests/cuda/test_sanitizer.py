"""The suite under ``compute-sanitizer``: what memory it touches out of bounds, and races in shared memory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rnncore.cuda import target

ROOT = Path(__file__).parent.parent.parent
# What launches no kernels: tests of the simulator, of the compiler, and of texts
OTHERS = ("compiled", "compiled_kernels", "driver", "emit", "every_kernel", "functions", "geometry", "ptx_instructions",
          "ptx_kernels", "ptx_threads", "sanitizer", "simulator", "tiles", "twins", "watch")  # fmt: skip
SUITE = [path for path in sorted(Path(__file__).parent.glob("test_*.py")) if path.stem[5:] not in OTHERS]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(target.simulated or bool(target.missing()), reason="there is no GPU"),
    pytest.mark.skipif(shutil.which("compute-sanitizer") is None, reason="compute-sanitizer is not installed"),
]


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_nothing_is_found(tool):
    command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "99", "--target-processes", "all"]
    command += [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    env = os.environ | {"RNNCORE_NO_POOL": "1"}
    done = subprocess.run([*command, *map(str, SUITE)], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
