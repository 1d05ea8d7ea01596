"""Operands of tensor cores, however a launch is laid out: with tf32 that rounds nothing, nothing is off."""

from dataclasses import replace

import numpy as np
import pytest
import stress
from writers import Problem, combined

import rnncore as rn
from rnncore import testing
from rnncore.cuda import dense, geometry, launch, simulator, target, tile_twins, weights

pytestmark = pytest.mark.skipif(not target.simulated, reason="layouts are forced in the simulator")

# slices, members, rows of a tile, weights near; the batches have 19 rows
LAYOUTS = {
    "members": (1, 2, None, None),
    "slices": (3, 1, None, None),
    "both, far weights": (2, 2, None, False),
    "tiles": (1, 3, 16, True),
}
# An operand that is a state; one that is made in a step; two of which one is made by the library; on the way back one
# that nothing in the loop makes; a size that fills blocks of k
CELLS = {
    "memory": rn.cells.lstm(13), "reset after": rn.cells.gru(9, reset="after"), "reset before": rn.cells.gru(18),
    "low rank": stress.CELLS["fastgrnn"](7), "linear": stress.CELLS["state_space"](6), "plain": rn.cells.vanilla(32),
}  # fmt: skip


@pytest.fixture(params=LAYOUTS)
def layout(request, monkeypatch):
    slices, members, tile, near = LAYOUTS[request.param]

    def chosen(shape, device):
        assert shape.tensor
        found = geometry.laid_out(shape, device, min(slices, shape.batch), min(members, shape.units))
        tiling = found.tiling
        if near is not None:
            tiling = replace(tiling, resident=(near,) * len(found.splits))
        splits = tuple(1 + (k + (tile is None)) % 2 for k in range(len(found.splits)))
        return replace(found, tiling=tiling, splits=splits, tile=min(tile or found.tile, found.tile),
                       shared_bytes=device.shared_bytes)  # fmt: skip

    monkeypatch.setattr(geometry, "_TENSOR_LEAST", 1)
    monkeypatch.setattr(launch, "chosen", chosen)
    monkeypatch.setattr(launch, "WORK_BYTES", 2**12)  # several chunks


@pytest.fixture
def unrounded(monkeypatch):
    """Words of tf32 that hold all of a float32 number."""
    monkeypatch.setattr(tile_twins, "to_tf32", tile_twins._bits)
    monkeypatch.setattr(weights, "rounded_words", lambda values, kind: values)
    monkeypatch.setitem(dense._COMPUTE, ("float32", "tf32"), dense._COMPUTE["float32", ""])


def passed(net, params, x, dy, dstate, **given):
    y, final, tape = net.forward(params, x, **given)
    dx, dinitial, grads = net.backward(params, tape, dy, dstate=dstate)
    return {"y": y, **final, "dx": dx, **{f"d {k}": v for k, v in dinitial.items()}, **grads.to("cpu")}


@pytest.mark.parametrize("name", CELLS)
def test_products_have_all_terms_and_race_with_nobody(name, layout, unrounded):
    net = rn.Network(CELLS[name], inputs=3)
    params, rng = net.init(seed=1), np.random.default_rng(2)
    lengths = rng.integers(0, 5, 19)
    lengths[3] = 4
    x = rng.standard_normal((19, 4, 3)).astype("f")
    dy = rng.standard_normal(net(params, x)[0].shape).astype("f")
    state, dstate = (
        {k: rng.standard_normal((19, *s)).astype("f") for k, s in net.state_shapes.items()} for _ in range(2)
    )
    want = passed(net, params, x, dy, dstate, lengths=lengths, state=state)
    with simulator.watched():
        got = passed(net, params.to("cuda", products="tf32"), x, dy, dstate, lengths=lengths, state=state)
    for key, found in got.items():
        testing.close(key, found, want[key], 2e-5)


@pytest.mark.parametrize("scorer", ["none", "general"])
def test_decoders_multiply_what_others_made(scorer, layout, unrounded):
    """Contexts and a decoder's own outputs are operands, too."""
    p = Problem(combined("gru", scorer), dtype="float32", batch=17, source=3, steps=3)
    y, final, (dx, dstate, grads) = p.back()
    p.params = p.params.to("cuda", products="tf32")
    with simulator.watched():
        got_y, got_final, (got_dx, got_dstate, got) = p.back()
    for what, found, want in [("y", got_y, y), ("dx", got_dx, dx), *((k, got_final[k], final[k]) for k in final),
                              *((f"d {k}", got_dstate[k], dstate[k]) for k in dstate),
                              *((k, found, grads[k]) for k, found in got.to("cpu").items())]:  # fmt: skip
        testing.close(what, found, want, 2e-5)
