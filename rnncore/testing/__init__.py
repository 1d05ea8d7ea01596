"""For the tests of anybody's cells and topologies: laws that hold for every network.

Each check takes a `Network` and raises an `AssertionError` that says what differs and by how much.
Compiled code is held against the reference interpreter, the interpreter's derivatives against the
complex step (Squire and Trapp, SIAM Review 40, 1998).

Examples
--------
>>> import rnncore as rn
>>> from rnncore.testing import CHECKS, check_gradients
>>> check_gradients(rn.Network(rn.cells.vanilla(5), inputs=3))

A test of a plugin runs every one::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_cell(check):
        check(rn.Network(my_cell(17), inputs=3))

`Speed` is a class of benchmarks for asv.
"""

from .directions import Directions, complex_slope, directions
from .example import Example, close, example, same_bits
from .laws import (
    CHECKS,
    check_bind,
    check_checkpoints,
    check_chunks,
    check_curvature,
    check_determinism,
    check_directions,
    check_gradients,
    check_inputs_untouched,
    check_json,
    check_kernel,
    check_lengths,
    check_list,
    check_pickle,
    check_stream,
    check_tape,
)
from .speed import Speed

__all__ = [
    "CHECKS", "Directions", "Example", "Speed", "check_bind", "check_checkpoints", "check_chunks", "check_curvature",
    "check_determinism", "check_directions", "check_gradients", "check_inputs_untouched", "check_json", "check_kernel",
    "check_lengths", "check_list", "check_pickle", "check_stream", "check_tape", "close", "complex_slope", "directions",
    "example", "same_bits",
]  # fmt: skip
