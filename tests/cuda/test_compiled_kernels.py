"""Kernels of losses and of approximations, compiled and linked."""

import generations
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


@pytest.mark.parametrize("loss", rn.losses)
def test_losses_link_and_are_of_their_own_type_alone(loss):
    plan = plan_of(loss_step(objective.as_loss(loss), objective._equations).step, "infer")
    near = (True,) * sum(map(len, plan.waves))
    for report in generations.reports(emit(plan, "float32", Tiling(4, 4, near, near), False).text).values():
        assert report["spill_stores"] == report["stack_bytes"] == report["float64_instructions"] == 0


@pytest.mark.parametrize("which", ["forward", "backward"])
def test_functions_are_approximated_in_kernels_of_those_who_ask_alone(which):
    """The gates of an LSTM are three sigmoids and two tanh, and on the way back what they gave is kept."""
    plan = plan_of(rn.cells.lstm(4).step, which)
    near = (False,) * sum(map(len, plan.waves))
    for fast in (False, True):
        ptx = target.compiled(emit(plan, "float32", Tiling(1, 1, near, near), fast=fast).text, (9, 0)).ptx
        assert ("tanh.approx.f32" in ptx) == (fast and which == "forward") and (fast or "approx" not in ptx)
