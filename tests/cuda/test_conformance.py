"""Every cell, topology and scorer on the device: held to the laws, and to what the CPU computes."""

import inspect

import laws as on_cpu
import pytest
import stress
import writers

import rnncore as rn
from rnncore import testing
from rnncore.cuda import target
from rnncore.testing.laws import BOUNDS

pytestmark = pytest.mark.skipif(target.missing() is not None, reason="needs a GPU or the simulator")

LAWS = [check for check in testing.CHECKS if "device" in inspect.signature(check).parameters]
laws = pytest.mark.parametrize("check", LAWS, ids=lambda c: c.__name__)
TINY = {"batch": 3, "time": 3, "device": "cuda"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", on_cpu.CELLS)
def test_a_registered_cell_agrees_with_the_reference(cell, dtype):
    for n in (1, 5):
        testing.check_kernel(on_cpu.network(on_cpu.CELLS[cell], n, inputs=n + 1), dtype=dtype, **TINY)


@pytest.mark.parametrize("name", stress.STRESS)
def test_a_stress_cell_agrees_with_the_reference(name):
    testing.check_kernel(on_cpu.stress_network(name, max(3, on_cpu.SMALLEST.get(name, 3))), **TINY)


@pytest.mark.parametrize("topology", on_cpu.TOPOLOGIES)
@pytest.mark.parametrize("cell", on_cpu.CELLS)
def test_every_cell_in_every_topology(cell, topology):
    made = rn.topologies[topology.split("-")[0]]
    layers = [on_cpu.CELLS[cell](3) for _ in on_cpu.blocks_of(made, 3)]
    options = dict(on_cpu.TOPOLOGIES[topology](3).items)
    testing.check_kernel(on_cpu.network(lambda n: made(*layers, **options), inputs=2, outputs=2), **TINY)


@laws
@pytest.mark.parametrize("name", ["gated", "memory", "state_space", "antisymmetric"])
def test_laws(name, check):
    check(on_cpu.stress_network(name, 3), device="cuda")


@laws
@pytest.mark.parametrize("options", [{}, on_cpu.FINAL], ids=["many-to-many", "many-to-one"])
@pytest.mark.parametrize("topology", on_cpu.TOPOLOGIES)
def test_a_registered_topology_obeys(topology, options, check):
    check(on_cpu.network(on_cpu.TOPOLOGIES[topology], 2, inputs=2, **options), device="cuda")


def agree(problem):
    """What a decoder gives on the device is what it gives on the CPU, which is held to the reference elsewhere."""
    y, final, (dx, dstate, grads) = problem.back()
    called = problem.net(problem.params, problem.x, **problem.given)
    problem.params = problem.params.to("cuda")
    got, got_final, (got_dx, got_dstate, got_grads) = problem.back()
    again = problem.net(problem.params, problem.x, **problem.given)
    forward, back = BOUNDS[str(problem.params.dtype)]
    testing.close("output", got, y, forward)
    testing.close("output of a call", again[0], called[0], forward)
    testing.close("gradient of x", got_dx, dx, back)
    for path in final:
        testing.close(f"final {path}", got_final[path], final[path], forward)
    for path in dstate:
        testing.close(f"gradient of the initial {path}", got_dstate[path], dstate[path], back)
    for path in grads:
        testing.close(f"gradient of {path}", got_grads[path], grads[path], back)


@pytest.mark.parametrize("scorer", writers.SCORERS)
@pytest.mark.parametrize("cell", [*writers.CELLS, *writers.VARIANTS])
def test_every_cell_as_a_decoder_with_every_scorer(cell, scorer):
    make = {**writers.CELLS, **writers.VARIANTS}[cell]
    net = writers.network(make, writers.SCORERS[scorer], units=4)
    agree(writers.Problem(net, batch=3, source=3, steps=3))


@pytest.mark.parametrize("attend", ["before", "after"])
def test_a_decoder_where_it_asks(attend):
    net = writers.network(rn.cells.gru, rn.scorers.bahdanau(), attend, units=4)
    agree(writers.Problem(net, batch=3, source=3, steps=3))
