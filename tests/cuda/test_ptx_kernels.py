"""What kernels were compiled to computes what the CPU's do: their PTX is run, forward and back, watched for races."""

import re
from dataclasses import replace

import numpy as np
import pytest
import stress
import writers

import rnncore as rn
from rnncore import testing
from rnncore.cuda import geometry, launch, target
from rnncore.lang import cell, layer_norm, sigmoid, tanh
from rnncore.testing.laws import BOUNDS

if target.missing_to_compile():
    pytest.skip(str(target.missing_to_compile()), allow_module_level=True)
if not target.simulated:
    pytest.skip("on a GPU the kernels themselves are run", allow_module_level=True)

from ptx import device as interpreter
from ptx.device import SMALL, interpreted
from ptx.memory import Global

AMPERE = replace(SMALL, capability=(8, 0))
NARROW = replace(SMALL, shared_bytes=640)  # no room for all weights
WIDE = replace(SMALL, shared_bytes=39000, threads=256)


@cell
def mgu(w, x, h):
    """The minimal gated unit. Zhou et al. 2016."""
    f = sigmoid(w.f(x, h))
    return (1 - f) * h + f * tanh(w.n(x, h=f * h))


@cell
def normed(w, x, h):
    """A layer norm of recurrent sums. Ba et al. 2016."""
    return tanh(layer_norm(w.h(x, h)) * w.scale.init(1.0))


def passes(net, params, e, **more):
    y, final, tape = net.forward(params, e.x, **e.given, **more)
    dx, dstate, grads = net.backward(params, tape, e.dy, dstate=e.dstate)
    found = {"output": y} | {f"final {path}": final[path] for path in final}
    found |= {f"gradient of {path}": grads.to("cpu")[path] for path in grads}
    found |= {"gradient of x": dx} | {f"gradient of the initial {path}": dstate[path] for path in dstate}
    return found


def near(got, want, dtype="float32"):
    forward, back = BOUNDS[dtype]
    for name, value in want.items():
        testing.close(name, got[name], value, back if name.startswith("gradient") else forward)


def agree(net, batch=3, time=4, dtype="float32", **where):
    """Everything that a training step gives, of a ragged batch, is the CPU's; what was launched, and what it gave."""
    e = testing.example(net, batch=batch, time=time, dtype=dtype)
    with interpreted(**where) as seen:
        got = passes(net, e.params.to("cuda"), e, seed=3)
    near(got, passes(net, e.params, e, seed=3), dtype)
    return seen, got


CELLS = {
    "vanilla": (rn.cells.vanilla(5), {"grid": (3, 1)}),
    "lstm": (rn.cells.lstm(5), {"grid": (3, 1)}),
    "gru-before": (rn.cells.gru(5, reset="before"), {"grid": (1, 3), "laned": True}),
    "gru-after": (rn.cells.gru(6, reset="after"), {"grid": (1, 2)}),
    "mgu": (mgu(5), {"grid": (3, 1)}),
    "lem": (stress.lem(4), {"grid": (1, 2), "laned": True}),
    "cornn": (stress.cornn(5), {"grid": (2, 1)}),
    "normed": (normed(5), {"grid": (1, 3), "laned": True}),
}


@pytest.mark.parametrize("name", CELLS)
def test_compiled_kernels_agree_with_the_cpu(name):
    layer, where = CELLS[name]
    seen, _ = agree(rn.Network(layer, inputs=3, outputs=2), **where)
    slices, members = where["grid"]
    assert len(seen) == 2
    assert all(one.blocks == slices * members and one.cooperative == (members > 1) for one in seen)


VANILLA = rn.Network(rn.cells.vanilla(5), inputs=3, outputs=2)


def test_code_of_both_generations_gives_the_same_bits():
    (_, got), (_, want) = agree(VANILLA, device=AMPERE), agree(VANILLA)
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value)


@pytest.mark.parametrize("net", [
    rn.Network(rn.topologies.bidirectional(rn.cells.vanilla(5)), inputs=3, outputs=2),
    rn.Network(rn.topologies.deep(rn.cells.vanilla(5), rn.cells.vanilla(5), dropout=0.4), inputs=3, mode="many-to-one"),
], ids=["two directions", "two layers and dropout"])  # fmt: skip
def test_topologies_agree_with_the_cpu(net):
    agree(net, grid=(2, 1))


FAR, LATE = 3 * 2**31, 2**29 + 20  # numbers from an array's first, and rows: neither fits in 32 bits of bytes


class Before(Global):
    """Arrays that seem to begin long before they do."""

    def __init__(self, arrays):
        super().__init__(arrays)
        self.addresses[:3] = [address - 4 * FAR for address in self.addresses[:3]]


def late(self, numbers):
    """The table of a launch as in such an array, after so many rows."""
    kernel, sizes = self.frame.kernel, self.frame.sizes
    assert not self.plan.history, "its first row would have to be early"
    for k, name in enumerate(kernel.pointers):
        if name not in ("counts", "offsets", "starts"):
            numbers[k] += FAR - LATE * (name != "work" and sizes.get(f"ld.{name}", 0))  # work is of the chunk alone
    offsets = numbers[kernel.pointers.index("offsets")]
    numbers[offsets : offsets + len(self.layout.offsets)] += LATE
    return numbers


def test_places_beyond_32_bits_are_found(monkeypatch):
    """Of arrays of more than 16 GB, of which only what is touched is there."""
    e = testing.example(VANILLA, batch=3, time=4, dtype="float32")
    table = launch.Launch._numbers
    monkeypatch.setattr(interpreter, "Global", Before)
    monkeypatch.setattr(launch.Launch, "_numbers", lambda self: late(self, table(self)))
    with interpreted(grid=(1, 2)) as seen:
        got, _ = VANILLA(e.params.to("cuda"), e.x, **e.given)
    near({"output": got}, {"output": VANILLA(e.params, e.x, **e.given)[0]})
    assert len(seen) == 1 and seen[0].cooperative


def test_float64_agrees_with_the_cpu():
    agree(VANILLA, dtype="float64", grid=(1, 3))


@pytest.mark.parametrize("grid", [(1, 1), (2, 1), (1, 2)])
def test_weights_that_stay_where_they_are_agree_with_the_cpu(grid):
    """No room for all of them near; slices and blocks do not change the code."""
    seen, _ = agree(rn.Network(rn.cells.vanilla(9), inputs=3), device=NARROW, grid=grid)
    assert all("weights, at_w" in one.text and "s_near_0" in one.text for one in seen)


def test_sums_of_single_threads_agree_with_the_cpu():
    seen, _ = agree(rn.Network(rn.cells.vanilla(20), inputs=3), batch=8, time=3, grid=(1, 1))
    assert all("at_x3" in one.text and "(lane" not in one.text for one in seen)


@pytest.mark.parametrize("high, parts", [(1, 4), (8, 32)])
def test_sums_of_warps_agree_with_the_cpu(high, parts):
    seen, _ = agree(rn.Network(rn.cells.vanilla(20), inputs=3), batch=9, time=3, grid=(1, 1), high=high, laned=True)
    for one in seen:
        (zeros,) = re.findall(r" acc = (\(\(.*)", one.text)
        assert len(re.findall(r"\bc\d", zeros)) == parts and "set_sums(lane" in one.text


def test_weights_that_lanes_read_some_of_anew_agree_with_the_cpu():
    """Of 140 terms 128 stay near, four for each lane of a warp."""
    net = rn.Network(rn.cells.vanilla(140), inputs=3)
    e = testing.example(net, batch=1, time=3, dtype="float32")
    with interpreted(WIDE, grid=(1, 2), laned=True) as seen:
        got, _ = net(e.params.to("cuda"), e.x)
    near({"output": got}, {"output": net(e.params, e.x)[0]})
    assert "s_near_0" in seen[0].text and "(lane" in seen[0].text and seen[0].cooperative


@pytest.mark.parametrize("layer, grid, kind, batch", [
    (rn.cells.vanilla(13), (1, 1), "tf32", 9), (rn.cells.vanilla(13), (1, 1), "bf16", 9),
    (rn.cells.lstm(9), (1, 2), "bf16", 17), (rn.cells.gru(35), (1, 3), "bf16", 17),
    (rn.cells.gru(5, reset="before"), (2, 1), "tf32", 18),
], ids=str)  # fmt: skip
def test_tensor_cores_agree_with_their_simulation(layer, grid, kind, batch, monkeypatch):
    """Operands are rounded to the same numbers: only sums differ, in their order."""
    net = rn.Network(layer, inputs=3, outputs=2)
    e = testing.example(net, batch=batch, time=3, dtype="float32")
    params = e.params.to("cuda", products=kind)
    with monkeypatch.context() as patch:
        patch.setattr(launch, "chosen", lambda shape, device: geometry.laid_out(shape, device, *grid))
        want = passes(net, params, e)
    with interpreted(grid=grid) as seen:
        near(passes(net, params, e), want)
    assert len(seen) == 2 and all(f"tile_{kind}" in one.text for one in seen)


def test_approximate_functions_are_off_by_no_more_than_they_may_be():
    """After one step the bound is that of ``tanh.approx``, 2**-11 of each number."""
    net = rn.Network(rn.cells.vanilla(5), inputs=3)
    e = testing.example(net, batch=3, time=1, dtype="float32")
    with interpreted():
        got, _ = net(e.params.to("cuda", functions="fast"), e.x)
    want, _ = net(e.params, e.x)
    error = np.abs(got / want - 1).max()
    assert 2.0**-13 < error <= 2.0**-11 + 1e-5


def test_masks_resets_tokens_and_losses_agree_with_the_cpu():
    net = rn.Network(rn.cells.vanilla(5), inputs=rn.Tokens(7), outputs=7)
    rng, params = np.random.default_rng(0), net.init(seed=0)
    x, target = rng.integers(0, 7, (2, 3, 4))
    given = {"mask": rng.random((3, 4)) > 0.3, "reset": rng.random((3, 4)) > 0.7, "loss": "cross_entropy"}
    value, grads = net.loss_and_grad(params, x, target, **given)
    with interpreted() as seen:
        got, found = net.loss_and_grad(params.to("cuda"), x, target, **given)
    assert abs(got - value) < 1e-5 * abs(value) and len(seen) > 2
    near({"gradient": found.to("cpu").flat}, {"gradient": grads.flat})


@pytest.mark.slow
def test_an_attention_decoder_agrees_with_the_cpu():
    net = writers.network(rn.cells.vanilla, rn.scorers.dot(), units=3, encoder=rn.cells.vanilla(3), feedback="argmax")
    problem = writers.Problem(net, dtype="float32", batch=3, source=3, steps=3)
    y, _, (dx, _, grads) = problem.back()
    problem.params = problem.params.to("cuda")
    with interpreted(grid=(1, 2)):
        got, _, (got_dx, _, found) = problem.back()
    want = {"output": y, "gradient of x": dx, "gradients": grads.flat}
    near({"output": got, "gradient of x": got_dx, "gradients": found.to("cpu").flat}, want)
