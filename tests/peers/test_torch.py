"""PyTorch's LSTM, GRU and RNN with packed sequences as an outside judge: outputs, final states, every gradient."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore as rn
from rnncore import cells, topologies
from rnncore.testing import close

torch = pytest.importorskip("torch")

BOUNDS = {"float32": (2e-5, 2e-4), "float64": (1e-11, 1e-9)}  # forward, gradients; both sides err
# name: (their module, their order of gates, our names of these gates, sign of each: their z is 1 - ours)
KINDS = {
    "lstm": (torch.nn.LSTM, "ifgo", (1, 1, 1, 1)),
    "gru": (torch.nn.GRU, "rzn", (1, -1, 1)),
    "vanilla": (torch.nn.RNN, "h", (1,)),
}
STATES = {"lstm": ("h", "c"), "gru": ("h",), "vanilla": ("h",)}
OPTIONS = {"gru": {"reset": "after"}}


def ours(kind, units, inputs, layers, both, **options):
    """The network with a prefix for each of their (layer, direction)."""
    layer = cells[kind](units, **OPTIONS.get(kind, {}), **options)
    block = topologies.bidirectional(layer) if both else layer
    directions = ["forward.", "backward."] if both else [""]
    if layers == 1:
        return rn.Network(block, inputs=inputs), directions
    net = rn.Network(topologies.deep(*[block] * layers), inputs=inputs)
    return net, [f"{k}.{d}" for k in range(layers) for d in directions]


def names_of(kind, prefix):
    """(our name, their pair of arrays, gate, sign) of every array of one layer and direction."""
    _, gates, signs = KINDS[kind]
    for g, (gate, sign) in enumerate(zip(gates, signs, strict=True)):
        yield f"{prefix}W_x{gate}", ("weight_ih",), g, sign
        yield f"{prefix}W_h{gate}", ("weight_hh",), g, sign
        if kind == "gru" and gate == "n":
            yield f"{prefix}b_xn", ("bias_ih",), g, sign
            yield f"{prefix}b_hn", ("bias_hh",), g, sign
        else:
            yield f"{prefix}b_{gate}", ("bias_ih", "bias_hh"), g, sign


def theirs(kind, prefixes, net, params, units, inputs, layers, both, dtype, **options):
    """Their module holding our parameters; the second bias is made zero where both add up."""
    module = KINDS[kind][0](inputs, units, layers, batch_first=True, bidirectional=both, dtype=dtype, **options)
    with torch.no_grad():
        for k, prefix in enumerate(prefixes):
            suffix = suffix_of(k, both)
            for name, arrays, g, sign in names_of(kind, prefix):
                rows = slice(g * units, (g + 1) * units)
                getattr(module, arrays[0] + suffix)[rows] = torch.from_numpy(sign * params[name])
                if len(arrays) > 1:
                    getattr(module, arrays[1] + suffix)[rows] = 0
    return module


def suffix_of(k, both):
    return f"_l{k // 2}{'_reverse' * (k % 2)}" if both else f"_l{k}"


def run_theirs(module, x, lengths, states, dy, dstates):
    """Outputs, final states, and the gradients of x and of the initial states; those of weights stay on the module."""
    x = torch.from_numpy(x).requires_grad_()
    states = [torch.from_numpy(s).requires_grad_() for s in states]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.from_numpy(lengths), True, enforce_sorted=False)
    y, final = module(packed, tuple(states) if len(states) > 1 else states[0])
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    final = final if isinstance(final, tuple) else (final,)
    total = (y * torch.from_numpy(dy)).sum()
    for f, d in zip(final, dstates, strict=True):
        total = total + (f * torch.from_numpy(d)).sum()
    total.backward()
    return y.detach(), [f.detach() for f in final], x.grad, [s.grad for s in states]


def compare(kind, dtype, units, inputs, batch, time, layers, both, seed, **options):
    rng = np.random.default_rng(seed)
    net, prefixes = ours(kind, units, inputs, layers, both, **options)
    params = net.init(seed=seed, dtype=dtype)
    params.flat[:] += 0.05 * rng.standard_normal(params.flat.size)
    nonlinearity = {"nonlinearity": options["activation"]} if options else {}
    module = theirs(kind, prefixes, net, params, units, inputs, layers, both, getattr(torch, dtype), **nonlinearity)
    x = rng.standard_normal((batch, time, inputs)).astype(dtype)
    lengths = rng.integers(1, time + 1, batch)
    shape = (len(prefixes), batch, units)
    states = [rng.uniform(-1, 1, shape).astype(dtype) for _ in STATES[kind]]
    dstates = [rng.standard_normal(shape).astype(dtype) for _ in STATES[kind]]
    dy = rng.standard_normal((batch, time, units * (1 + both))).astype(dtype)
    want_y, want_final, want_dx, want_dstates = run_theirs(module, x, lengths, states, dy, dstates)

    def named(arrays):
        return {p + s: a[k] for s, a in zip(STATES[kind], arrays, strict=True) for k, p in enumerate(prefixes)}

    y, final, tape = net.forward(params, x, lengths=lengths, state=named(states))
    dx, dstate, grads = net.backward(params, tape, dy, dstate=named(dstates))
    forward, back = BOUNDS[dtype]
    close("output", y, want_y, forward)
    close("inference", net(params, x, lengths=lengths, state=named(states))[0], want_y, forward)
    close("gradient of the input", dx, want_dx, back)
    for path, value in named(want_final).items():
        close(f"final {path}", final[path], value, forward)
    for path, value in named(want_dstates).items():
        close(f"gradient of the initial {path}", dstate[path], value, back)
    for k, prefix in enumerate(prefixes):
        for name, arrays, g, sign in names_of(kind, prefix):
            whole = getattr(module, arrays[0] + suffix_of(k, both)).grad
            close(f"gradient of {name}", grads[name], sign * whole[g * units : (g + 1) * units], back)


any_sizes = given(
    units=st.integers(1, 150), inputs=st.integers(1, 150), batch=st.integers(1, 20), time=st.integers(1, 30),
    layers=st.integers(1, 3), both=st.booleans(), seed=st.integers(0, 2**20),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@any_sizes
def test_random_sizes(kind, units, inputs, batch, time, layers, both, seed):
    compare(kind, "float64", units, inputs, batch, time, layers, both, seed)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, derandomize=True)  # a gradient of one unit may be what cancellation leaves of two float32
@any_sizes
def test_random_sizes_in_single_precision(kind, units, inputs, batch, time, layers, both, seed):
    compare(kind, "float32", units, inputs, batch, time, layers, both, seed)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("units, batch, time", [(1, 1, 1), (16, 1, 200), (17, 40, 3), (128, 32, 50), (150, 3, 7)])
def test_chosen_sizes(units, batch, time, dtype):
    for kind in KINDS:
        compare(kind, dtype, units, 13, batch, time, 1, True, seed=units)


def test_rectified_units():
    compare("vanilla", "float64", 33, 5, 7, 9, 2, True, seed=1, activation="relu")


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_of_the_last_output(reduction):
    rng = np.random.default_rng(5)
    net = rn.Network(cells.gru(7, reset="after"), inputs=4, outputs=3, mode="many-to-one")
    params = net.init(dtype="float64")
    x, target = rng.standard_normal((6, 5, 4)), rng.integers(0, 3, 6)
    value, grads = net.loss_and_grad(params, x, target, loss="cross_entropy", reduction=reduction)
    module = theirs("gru", [""], net, params, 7, 4, 1, False, torch.float64)
    readout = torch.nn.Linear(7, 3, dtype=torch.float64)
    with torch.no_grad():
        readout.weight[:] = torch.from_numpy(params["readout.V"])
        readout.bias[:] = torch.from_numpy(params["readout.c"])
    _, final = module(torch.from_numpy(x))
    want = torch.nn.functional.cross_entropy(readout(final[0]), torch.from_numpy(target), reduction=reduction)
    want.backward()
    assert value == pytest.approx(want.item(), rel=1e-12)
    close("readout", grads["readout.V"], readout.weight.grad, 1e-9)
    close("W_hn", grads["W_hn"], module.weight_hh_l0.grad[14:], 1e-9)


def test_the_product_with_the_hessian_is_their_double_backward():
    """Their gradient of the gradient's product with a direction, for a layer in both directions with a readout."""
    net, prefixes = ours("lstm", 5, 3, 1, True)
    net = rn.Network(net.layer, inputs=3, outputs=2)
    rng = np.random.default_rng(0)
    params = net.init(seed=1, dtype="float64")
    x, target = rng.standard_normal((4, 6, 3)), rng.standard_normal((4, 6, 2))
    direction = params.with_flat(rng.standard_normal(params.flat.size))
    weights = {name: torch.from_numpy(v.copy()).requires_grad_() for name, v in params.items()}

    def walk(prefix, steps):
        h = c = torch.zeros(4, 5, dtype=torch.float64)
        found = [None] * 6
        for t in steps:
            i, f, g, o = (
                torch.from_numpy(x[:, t]) @ weights[f"{prefix}W_x{k}"].T + h @ weights[f"{prefix}W_h{k}"].T
                + weights[f"{prefix}b_{k}"] for k in "ifgo"
            )  # fmt: skip
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = found[t] = torch.sigmoid(o) * torch.tanh(c)
        return torch.stack(found, 1)

    h = torch.cat([walk(prefixes[0], range(6)), walk(prefixes[1], range(5, -1, -1))], 2)
    o = h @ weights["readout.V"].T + weights["readout.c"]
    loss = ((o - torch.from_numpy(target)) ** 2).mean()
    first = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    along = sum((g * torch.from_numpy(direction[name])).sum() for name, g in zip(weights, first, strict=True))
    second = torch.autograd.grad(along, list(weights.values()))
    value, grads, product = net.hvp(params, x, target, direction, loss="mean_squared")
    assert value == pytest.approx(loss.item(), rel=1e-13)
    for name, g, s in zip(weights, first, second, strict=True):
        close(f"gradient of {name}", grads[name], g.detach().numpy(), 1e-10)
        close(f"product at {name}", product[name], s.numpy(), 1e-10)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_guide_s_way_to_copy_weights(kind):
    page = (Path(rn.__file__).parent.parent / "docs" / "pipelines.md").read_text()
    names = {"np": np}
    (text,) = (block.split("```")[0] for block in page.split("```python\n") if block.startswith("def from_torch"))
    exec(text, names)
    net, prefixes = ours(kind, 5, 3, 2, True)
    module, _, _ = KINDS[kind]
    module = module(3, 5, 2, batch_first=True, bidirectional=True)
    params, gates = net.init(), ("rzn", "z") if kind == "gru" else ("ifgo", "")
    arrays = {name: array.numpy() for name, array in module.state_dict().items()}
    for prefix, suffix in zip(prefixes, ("_l0", "_l0_reverse", "_l1", "_l1_reverse"), strict=True):
        read = names["from_torch"](net, arrays, *gates, ours=prefix, theirs=suffix)
        for path in (path for path in params if path.startswith(prefix)):
            params[path] = read[path]
    x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype("float32")
    with torch.no_grad():
        want = module(torch.from_numpy(x))[0].numpy()
    assert np.abs(net(params, x)[0] - want).max() <= 1e-6
