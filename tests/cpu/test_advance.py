"""What runs programs: an instruction has no more threads than it was written for."""

import ctypes
import time

import numpy as np
import pytest

from rnncore.cpu.advance import RUN, TEAM
from rnncore.cpu.instructions import Instructions
from rnncore.cpu.memory import address_of
from rnncore.cpu.pool import launch_address


@pytest.mark.parametrize("what", [RUN, TEAM])
def test_an_instruction_has_the_threads_that_it_has_memory_for(what, monkeypatch):
    monkeypatch.setenv("RNNCORE_NUM_THREADS", "3")
    program, seen, kernels = Instructions("float32", 1), [set(), set(), set()], []
    program.flops, program.workers = 1e9, 2
    for workers, parts in enumerate(seen):

        def kernel(job, part, parts=parts, threads=workers + 1):
            parts.add(part)
            for _ in range(500):
                if len(parts) < threads:
                    time.sleep(0.02)
            time.sleep(0.1)  # whoever else may come has time to

        kernels.append(ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(kernel))
        address = ctypes.cast(kernels[-1], ctypes.c_void_p).value
        program._put(what, address, 0, 0, 0, 0, program._reserve(64), workers, launch_address())
    program.finish()
    memory = np.zeros(program.nbytes, np.uint8)
    program.once(address_of(memory))
    assert seen == [{0}, {0, 1}, {0, 1, 2}]
