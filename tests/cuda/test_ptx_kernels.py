"""What kernels were compiled to computes what the CPU's do: their PTX is run, forward and back, watched for races."""

from dataclasses import replace

import pytest
import stress

import rnncore as rn
from rnncore import testing
from rnncore.cuda import target
from rnncore.lang import cell, layer_norm, sigmoid, tanh
from rnncore.testing.laws import BOUNDS

if target.missing_to_compile():
    pytest.skip(str(target.missing_to_compile()), allow_module_level=True)
if not target.simulated:
    pytest.skip("on a GPU the kernels themselves are run", allow_module_level=True)

from ptx.device import SMALL, interpreted

AMPERE = replace(SMALL, capability=(8, 0))
NARROW = replace(SMALL, shared_bytes=1536)  # no room for weights


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


def agree(net, batch=3, time=4, dtype="float32", bounds=None, to=None, **where):
    """Everything that a training step gives, of a ragged batch, and what was launched for it."""
    e = testing.example(net, batch=batch, time=time, dtype=dtype)
    want = passes(net, e.params, e, seed=3)
    with interpreted(**where) as seen:
        got = passes(net, e.params.to("cuda", **(to or {})), e, seed=3)
    forward, back = bounds or BOUNDS[dtype]
    for name, value in want.items():
        testing.close(name, got[name], value, back if name.startswith("gradient") else forward)
    return seen, got


CELLS = {
    "vanilla": (rn.cells.vanilla(5), {}),
    "lstm": (rn.cells.lstm(5), {}),
    "gru-before": (rn.cells.gru(5, reset="before"), {"grid": (1, 3)}),
    "gru-after": (rn.cells.gru(6, reset="after"), {"grid": (1, 2)}),
    "mgu": (mgu(5), {"grid": (3, 1)}),
    "lem": (stress.lem(4), {"grid": (1, 2)}),
    "cornn": (stress.cornn(5), {"grid": (2, 1)}),
    "normed": (normed(5), {"grid": (1, 3)}),
}


@pytest.mark.parametrize("name", CELLS)
def test_compiled_kernels_agree_with_the_cpu(name):
    layer, where = CELLS[name]
    seen, _ = agree(rn.Network(layer, inputs=3, outputs=2), **where)
    slices, members = where.get("grid", (3, 1))
    assert len(seen) == 2
    assert all(one.blocks == slices * members and one.cooperative == (members > 1) for one in seen)
