"""Loops on the device however a launch is laid out: slices, blocks that share units, tiles, lanes; without races."""

from dataclasses import replace

import numpy as np
import pytest
import stress
from writers import SCORERS, Problem, combined

import rnncore as rn
from rnncore import reference, testing
from rnncore.cuda import geometry, launch, simulator, target

pytestmark = pytest.mark.skipif(not target.simulated, reason="layouts are forced in the simulator")

# slices, members, rows of a tile, weights near, lanes that share inner indices
LAYOUTS = {
    "one block": (1, 1, None, None, None),
    "slices": (3, 1, None, None, None),
    "members": (1, 3, None, None, None),
    "both, lanes": (2, 2, 1, True, True),
    "far weights": (1, 2, 2, False, False),
    "far weights, lanes": (2, 1, None, False, True),
}


def force(monkeypatch, slices, members, tile, resident, laned):
    def chosen(shape, device):
        found = geometry.laid_out(shape, device, min(slices, shape.batch), members)
        many = range(len(found.splits))
        tiling = found.tiling
        if resident is not None:
            tiling = replace(tiling, resident=(resident,) * len(many), laned=(laned,) * len(many))
            near = found.near if resident else tuple(4 * ((k + laned) % 2 == 0) for k in many)  # none, or a few of them
            found = replace(found, tiling=tiling, splits=tuple(1 + k % 2 for k in many), near=near)
        return replace(found, tile=min(tile or found.tile, found.tile), shared_bytes=device.shared_bytes)

    monkeypatch.setattr(launch, "chosen", chosen)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", stress.CELLS)
def test_every_layout_gives_what_the_reference_does_and_races_with_nobody(name, layout, monkeypatch):
    force(monkeypatch, *LAYOUTS[layout])
    monkeypatch.setattr(launch, "WORK_BYTES", 2**10)  # several chunks
    net = rn.Network(stress.CELLS[name](stress.UNITS.get(name, 5)), inputs=stress.INPUTS.get(name, 3))
    e = testing.example(net, batch=3, time=3)
    dx, dstate, grads = reference.gradients(net, e.params, e.x, e.dy, dstate=e.dstate, **e.given)
    want, final = reference.run(net, e.params, e.x, **e.given)
    params = e.params.to("cuda")
    with simulator.watched():
        y, state = net(params, e.x, **e.given)
        kept, _, tape = net.forward(params, e.x, **e.given)
        got_dx, got_dstate, got = net.backward(params, tape, e.dy, dstate=e.dstate)
    testing.close("y", y, want, 1e-12)
    np.testing.assert_array_equal(kept, y)
    for path in final:
        testing.close(path, state[path], final[path], 1e-12)
        testing.close(f"gradient of the initial {path}", got_dstate[path], dstate[path], 1e-10)
    for path, found in got.to("cpu").items():
        testing.close(f"gradient of {path}", found, grads[path], 1e-10)
    for key, d in (got_dx if isinstance(got_dx, dict) else {"x": got_dx}).items():
        testing.close(f"gradient of {key}", d, dx[key], 1e-10)


@pytest.mark.parametrize("layout", ["members", "both, lanes", "far weights"])
@pytest.mark.parametrize("scorer", SCORERS)
def test_decoders_attend_in_every_layout(scorer, layout, monkeypatch):
    p = Problem(combined("gru", scorer))
    y, final, (dx, dstate, grads) = p.back()
    force(monkeypatch, *LAYOUTS[layout])
    p.params = p.params.to("cuda")
    with simulator.watched():
        got_y, got_final, (got_dx, got_dstate, got) = p.back()
    testing.close("y", got_y, y, 1e-12)
    testing.close("gradient of x", got_dx, dx, 1e-10)
    for path in final:
        testing.close(path, got_final[path], final[path], 1e-12)
    for path in dstate:
        testing.close(f"gradient of the initial {path}", got_dstate[path], dstate[path], 1e-10)
    for path, found in got.to("cpu").items():
        testing.close(f"gradient of {path}", found, grads[path], 1e-10)


@pytest.mark.parametrize("laned", [True, False])
@pytest.mark.parametrize("high, batch", [(2, 5), (8, 11)])
def test_several_rows_are_summed_at_once(high, batch, laned, monkeypatch):
    """Rows of a tile that are no multiple of them, weights of two products that are laid out alike or not."""

    def chosen(shape, device):
        each = (laned,) + (True,) * (len(shape.products) - 1)
        return geometry.laid_out(shape, device, 1, 2, high, each)

    monkeypatch.setattr(launch, "chosen", chosen)
    net = rn.Network(rn.cells.gru(9), inputs=2)
    e = testing.example(net, batch=batch, time=2)
    want, _ = reference.run(net, e.params, e.x, **e.given)
    _, _, grads = reference.gradients(net, e.params, e.x, e.dy, dstate=e.dstate, **e.given)
    params = e.params.to("cuda")
    with simulator.watched():
        y, _, tape = net.forward(params, e.x, **e.given)
        got = net.backward(params, tape, e.dy, dstate=e.dstate)[2].to("cpu")
    testing.close("y", y, want, 1e-12)
    for path, found in got.items():
        testing.close(f"gradient of {path}", found, grads[path], 1e-10)


@pytest.mark.parametrize("units", [8, 15, 21])
def test_sums_of_many_terms_have_all_of_them(units, monkeypatch):
    """Eight of them at a time, then four, then one."""
    force(monkeypatch, 1, 1, None, True, False)
    net = rn.Network(rn.cells.vanilla(units), inputs=2)
    e = testing.example(net, batch=5, time=2)
    want, _ = reference.run(net, e.params, e.x, **e.given)
    _, _, grads = reference.gradients(net, e.params, e.x, e.dy, dstate=e.dstate, **e.given)
    params = e.params.to("cuda")
    y, _, tape = net.forward(params, e.x, **e.given)
    testing.close("y", y, want, 1e-12)
    for path, found in net.backward(params, tape, e.dy, dstate=e.dstate)[2].to("cpu").items():
        testing.close(f"gradient of {path}", found, grads[path], 1e-10)
