"""Kernels in both kinds of layouts, of losses and of approximations, compiled and linked for two generations."""

import pytest

import rnncore as rn
from rnncore import objective
from rnncore.compiled_loss import loss_step
from rnncore.cuda import target
from rnncore.cuda.emit import emit
from rnncore.cuda.writer import Tiling
from rnncore.plan.kernels import plan_of

if target.missing_to_compile():
    pytest.skip(str(target.missing_to_compile()), allow_module_level=True)

CAPABILITIES = [(8, 0), (9, 0)]
WHICH = ("infer", "forward", "backward")
# rows, columns, and whether weights are near and a warp's lanes share out the inner size
TILINGS = [(1, 4, False), (4, 4, True)]
compiled = {}


def report(layer, which, dtype, tiling, capability):
    plan = plan_of(layer.step, which)
    rows, columns, near = tiling
    many = sum(map(len, plan.waves))
    text = emit(plan, dtype, Tiling(rows, columns, (near,) * many, (near,) * many), False).text
    if (text, capability) not in compiled:
        compiled[text, capability] = target.compiled(text, capability)
    return compiled[text, capability]


@pytest.mark.parametrize("capability, tiling", [*zip(CAPABILITIES, TILINGS)], ids=str)
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("layer", [rn.cells.vanilla(4), rn.cells.lstm(4), rn.cells.gru(4, reset="after")], ids=str)
def test_kernels_keep_within_the_registers(layer, which, capability, tiling):
    found = report(layer, which, "float32", tiling, capability)
    assert found.spill_stores == found.spill_loads == found.stack_bytes == found.float64_instructions == 0


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("loss", rn.losses)
def test_losses_link_and_are_of_their_own_type_alone(loss, capability):
    layer = loss_step(objective.as_loss(loss), objective._equations)
    found = report(layer, "infer", "float32", TILINGS[1], capability)
    assert found.spill_stores == found.stack_bytes == found.float64_instructions == 0


@pytest.mark.parametrize("which", ["forward", "backward"])
def test_functions_are_approximated_in_kernels_of_those_who_ask_alone(which):
    """The gates of an LSTM are three sigmoids and two tanh, and on the way back what they gave is kept."""
    plan = plan_of(rn.cells.lstm(4).step, which)
    near = (False,) * sum(map(len, plan.waves))
    for fast in (False, True):
        ptx = target.compiled(emit(plan, "float32", Tiling(1, 1, near, near), fast=fast).text, (9, 0)).ptx
        assert ("tanh.approx.f32" in ptx) == (fast and which == "forward") and (fast or "approx" not in ptx)
