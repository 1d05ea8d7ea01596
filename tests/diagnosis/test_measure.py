"""Gradients of states, Jacobians, exponents, saturation: against the reference, the complex step, known systems."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import reference
from rnncore.errors import InputError
from rnncore.lang import cell, constant, mapped, relu, sigmoid, softplus, tanh
from rnncore.reference import evaluate
from rnncore.testing import check_kernel, close, example

ONE, BOTH = stress.gated, stress.both_ways
H = 1e-30


def by_restarting(net, e, dy):
    """dL/ds_t of a single layer by the reference: the gradient of the state that the rest of a sequence starts from."""
    norms = {s: np.full(e.x.shape[:2], np.nan) for s in net.state_shapes}
    y, _ = reference.run(net, e.params, e.x, lengths=e.lengths, state=e.state)
    for b, n in enumerate(e.lengths):
        for t in range(n):
            head = {"state": {k: v[b : b + 1] for k, v in e.state.items()}}
            _, mid = reference.run(net, e.params, e.x[b : b + 1, : t + 1], **head)
            seed = dy[b : b + 1, t + 1 : n]
            _, d, _ = reference.gradients(net, e.params, e.x[b : b + 1, t + 1 : n], seed, state=mid)
            for s in d:
                own = dy[b, t] if s == "h" else 0  # the output is the state h
                norms[s][b, t] = np.linalg.norm(d[s][0] + own)
    return norms


def test_the_gradient_of_every_state_is_that_of_a_restart():
    net = rn.Network(ONE(5), inputs=3)
    e = example(net)
    found = rn.diagnose(net, e.params, e.x, dy=e.dy, **e.given)
    want = by_restarting(net, e, e.dy)["h"]
    np.testing.assert_allclose(found.gradient_norms["h"], want, rtol=1e-11)
    assert np.isnan(found.value)


def test_the_gradient_of_a_memory_goes_through_the_output_that_reads_it():
    """dL/dc_t = f dL/dc_{t+1} + ... + o (1 - tanh(c)^2) dL/dh_t, by a complex step on the reference."""
    net = rn.Network(stress.memory(3), inputs=2, mode="many-to-one")
    e = example(net, batch=1, time=4)
    found = rn.diagnose(net, e.params, e.x, dy=e.dy, state=e.state)
    step, want = net.layer.step, np.zeros((4, 3))
    base = {("param", k): e.params[k] for k in e.params}
    sizes = {"units": 3, "x": 2}
    for t in range(4):
        for j in range(3):
            h, c = (e.state[s].astype(complex) for s in "hc")
            for k in range(4):
                leaves = {**base, ("input", "x"): e.x[:, k], ("state", "h"): h, ("state", "c"): c}
                values = evaluate(step.roots, leaves, sizes)
                h, new = values["next.h"], values["next.c"].copy()
                if k == t:
                    new[0, j] += 1j * H
                    o = h / np.tanh(values["next.c"])
                    h = o * np.tanh(new)
                c = new
            want[t, j] = (e.dy * h).sum().imag / H
    np.testing.assert_allclose(found.gradient_norms["c"][0], np.linalg.norm(want, axis=1), rtol=1e-11)


@pytest.mark.parametrize("mode", ["many-to-many", "many-to-one"])
def test_the_gradient_before_the_first_step_goes_on_from_the_first(mode):
    """The gradient of the initial state is J_1' dL/dh_1: in every loop, in both directions of time."""
    block = stress.stacked(BOTH(ONE(4)), BOTH(ONE(3), merge="mean"))
    net = rn.Network(block, inputs=3, outputs=2, mode=mode)
    e = example(net, batch=1, time=6)
    _, _, tape = net.forward(e.params, e.x, state=e.state)
    dstart = net.backward(e.params, tape, e.dy)[1]
    found = rn.diagnose(net, e.params, e.x, dy=e.dy, state=e.state, at=[0])
    assert list(found.gradient_norms) == list(net.state_shapes)
    for path, d in dstart.items():
        loop = path.removesuffix("h")
        largest, least = found.singular_values[loop][0][[0, -1]]
        first = found.gradient_norms[path][0, 0]
        assert least * first * (1 - 1e-9) <= np.linalg.norm(d) <= largest * first * (1 + 1e-9)


def test_a_target_and_its_loss():
    net = rn.Network(ONE(5), inputs=3, outputs=2)
    e = example(net)
    target = np.random.default_rng(0).standard_normal((5, 7, 2))
    found = rn.diagnose(net, e.params, e.x, target, loss=stress.squared, **e.given)
    value, _ = net.loss_and_grad(e.params, e.x, target, loss=stress.squared, reduction="sum", **e.given)
    y, _ = net(e.params, e.x, **e.given)
    same = rn.diagnose(net, e.params, e.x, dy=(y - target), **e.given)  # squared is the mean of two outputs
    assert found.value == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(found.gradient_norms["h"], same.gradient_norms["h"], rtol=1e-11)


def test_without_a_target_the_last_output_is_made_small():
    e = example(rn.Network(ONE(5), inputs=3))
    for options, loops in (({}, [""]), ({"mode": "many-to-one"}, [""])):
        net = rn.Network(ONE(5), inputs=3, **options)
        y, final = net(e.params, e.x, lengths=e.lengths)
        last = final["h"] if options else np.where(e.lengths[:, None] > 0, final["h"], 0)
        found = rn.diagnose(net, e.params, e.x, lengths=e.lengths)
        assert found.value == pytest.approx((last**2).sum() / 2, rel=1e-12)
        ends = found.gradient_norms["h"][np.arange(4), e.lengths[:4] - 1]
        np.testing.assert_allclose(ends, np.linalg.norm(last[:4], axis=1), rtol=1e-12)
        assert list(found.singular_values) == loops
    net = rn.Network(BOTH(ONE(4)), inputs=3)
    e = example(net)
    y, _ = net(e.params, e.x)
    assert rn.diagnose(net, e.params, e.x).value == pytest.approx((y**2).sum() / 2, rel=1e-12)


@pytest.mark.parametrize("name", ["gated", "memory", "lstmp", "gru_d"])
def test_the_jacobian_of_a_step_is_the_complex_step(name):
    net = rn.Network(stress.CELLS[name](3), inputs=stress.INPUTS.get(name, 2))
    e = example(net)
    found = rn.diagnose(net, e.params, e.x, at=[0, 3, 5], sequence=0, exponents=0, **e.given)
    xs = e.x if isinstance(e.x, dict) else {"x": e.x}
    widths = [e.state[s].shape[1] for s in e.state]
    for row, t in enumerate(found.steps[""]):
        before = e.state
        if t:
            head = {k: v[:, :t] for k, v in xs.items()}
            head = head if isinstance(e.x, dict) else head["x"]
            _, before = reference.run(net, e.params, head, lengths=np.minimum(e.lengths, t), state=e.state)
        jacobian = np.zeros((sum(widths), sum(widths)))
        for j in range(sum(widths)):
            flat = np.concatenate([before[s][0] for s in before]).astype(complex)
            flat[j] += 1j * H
            state = {s: v[None] for s, v in zip(before, np.split(flat, np.cumsum(widths)[:-1]), strict=True)}
            now = {k: v[:1, t : t + 1] for k, v in xs.items()}
            _, after = reference.run(net, e.params, now if isinstance(e.x, dict) else now["x"], state=state)
            jacobian[:, j] = np.concatenate([after[s][0] for s in after]).imag / H
        close("singular values", found.singular_values[""][row], np.linalg.svd(jacobian, compute_uv=False), 1e-12)
        moduli = np.sort(np.abs(np.linalg.eigvals(jacobian)))[::-1]
        np.testing.assert_allclose(found.eigenvalue_moduli[""][row], moduli, rtol=1e-6, atol=1e-9)


MATRIX = np.array([[0.9, 0.4, 0.0], [0.0, 1.1, 0.2], [0.0, 0.0, 0.5]])


@cell
def linear(w, x, h):
    """A linear system whose exponents are known: the logarithms of its eigenvalues."""
    return w.h(x, mapped(h, lambda W: 0 * W + constant(MATRIX)))


def test_the_exponents_of_a_linear_system_are_its_eigenvalues():
    net = rn.Network(linear(3), inputs=1)
    found = rn.diagnose(net, net.init(), np.zeros((1, 600, 1)), exponents=9, at=[7])
    np.testing.assert_allclose(found.lyapunov_exponents[""], np.log([1.1, 0.9, 0.5]), atol=0.01)
    np.testing.assert_allclose(found.eigenvalue_moduli[""][0], [1.1, 0.9, 0.5], rtol=1e-12)
    np.testing.assert_allclose(found.singular_values[""][0], np.linalg.svd(MATRIX, compute_uv=False), rtol=1e-12)


def test_exponents_are_those_of_the_product_of_jacobians():
    net = rn.Network(ONE(4), inputs=2)
    e = example(net, batch=2, time=30)
    found = rn.diagnose(net, e.params, e.x, exponents=4, at=range(30))
    whole = found.lyapunov_exponents[""].sum()  # that of volumes: of the determinant
    assert whole == pytest.approx(np.log(found.singular_values[""]).sum() / 30, rel=1e-10)


def test_what_a_dead_unit_carries_on_is_gone():
    @cell
    def dead(w, x, h):
        return relu(w.h(x, h) - 100.0)

    net = rn.Network(dead(3), inputs=2)
    found = rn.diagnose(net, net.init(), np.ones((1, 4, 2)))
    assert np.isneginf(found.lyapunov_exponents[""]).all() and not found.singular_values[""].any()
    assert found.saturation["h"] == {0: 1.0} or list(found.saturation.values()) == [{0: 1.0}]
    assert found.verdict("h") == "is zero"
    str(found), found.plot()


@cell
def several(w, x, h, c):
    """Gates in every place: a variable, two in a line, the new state itself, unnamed ones within an expression."""
    open_ = sigmoid(w.i(x, h))
    c = open_ * c + sigmoid(w.j(x)) * tanh(h) + softplus(w.k(x)) * tanh(c)
    return tanh(w.h(x, h)), c


def test_gates_go_by_the_authors_names():
    net = rn.Network(stress.stacked(several(4), stress.memory(4)), inputs=3)
    found = rn.diagnose(net, net.init(), np.zeros((2, 5, 3)))
    names = [n.removeprefix("0.") for n in found.saturation if n.startswith("0.")]
    assert {"open_", "h", "tanh(h)", "tanh(c)"} <= set(names)
    assert sum(n.startswith(("sigmoid(", "softplus(")) for n in names) == 2 and len(names) == 6
    assert found.saturation["0.open_"].keys() == {0, 1} and found.saturation["0.h"].keys() == {-1, 1}


def test_saturation_counts_what_is_near_a_limit():
    @cell
    def gate(w, x, h):
        g = sigmoid(x)
        return g * 1.0

    x = np.array([-9.0, -2.0, 0.0, 3.1, 8.0])[None, :, None].repeat(2, 0)
    net = rn.Network(gate(1), inputs=1)
    found = rn.diagnose(net, net.init(), x, lengths=[5, 4])
    assert found.saturation["g"] == {0: pytest.approx(2 / 9), 1: pytest.approx(3 / 9)}
    wide = rn.diagnose(net, net.init(), x, lengths=[5, 4], threshold=0.2)
    assert wide.saturation["g"][0] == pytest.approx(4 / 9)


def test_tokens_and_float32_parameters():
    net = rn.Network(BOTH(ONE(4)), inputs=rn.Tokens(5), outputs=5)
    x = np.random.default_rng(0).integers(0, 5, (3, 6))
    single, double = (rn.diagnose(net, net.init(dtype=d), x, x, loss=stress.entropy) for d in ("float32", "float64"))
    assert single.gradient_norms["forward.h"].dtype == "float64"
    np.testing.assert_allclose(single.gradient_norms["forward.h"], double.gradient_norms["forward.h"], rtol=1e-4)
    assert list(single.singular_values) == ["forward.", "backward."]


def test_empty_sequences():
    net = rn.Network(ONE(4), inputs=2)
    found = rn.diagnose(net, net.init(), np.zeros((2, 3, 2)), lengths=[0, 3])
    assert np.isnan(found.gradient_norms["h"][0]).all() and found.singular_values[""].shape == (0, 4)
    assert np.isnan(found.lyapunov_exponents[""]).all()
    none = rn.diagnose(net, net.init(), np.zeros((0, 3, 2)))
    for each in (found, none):
        str(each), each.plot()


def test_nothing_of_the_caller_is_written_to_and_plain_gradients_stay():
    net = rn.Network(stress.stacked(BOTH(ONE(4)), ONE(3), residual=False), inputs=3)
    e = example(net)
    before = e.params.flat.copy(), e.x.copy()
    plain = net.loss_and_grad(e.params, e.x, e.dy, loss=stress.squared, **e.given)
    rn.diagnose(net, e.params, e.x, dy=e.dy, **e.given)
    np.testing.assert_array_equal(before[0], e.params.flat)
    np.testing.assert_array_equal(before[1], e.x)
    again = net.loss_and_grad(e.params, e.x, e.dy, loss=stress.squared, **e.given)
    np.testing.assert_array_equal(plain[1].flat, again[1].flat)


@cell
def around(w, x, n):
    """The input goes around the equations: its gradient is a sum that others read, too."""
    n = tanh(w.h(x, n)) + x
    return w.o(n=n), n


def test_a_state_that_the_output_reads_through_a_matrix():
    net = rn.Network(around(3), inputs=3)
    e = example(net, batch=1, time=4)
    _, _, tape = net.forward(e.params, e.x, state=e.state)
    dstart = net.backward(e.params, tape, e.dy)[1]["n"]
    found = rn.diagnose(net, e.params, e.x, dy=e.dy, state=e.state, at=[0])
    largest, least = found.singular_values[""][0][[0, -1]]
    first = found.gradient_norms["n"][0, 0]
    assert least * first * (1 - 1e-9) <= np.linalg.norm(dstart) <= largest * first * (1 + 1e-9)
    check_kernel(net)


def test_a_system_without_input():
    @cell
    def alone(w, h):
        return w.h(h=mapped(h, lambda W: 0 * W + constant(MATRIX)))

    net = rn.Network(alone(3), inputs=None)
    found = rn.diagnose(net, net.init(), at=[0, 499], state={"h": np.ones((1, 3))}, steps=500)
    np.testing.assert_allclose(found.lyapunov_exponents[""], np.log([1.1, 0.9, 0.5]), atol=0.01)
    assert found.gradient_norms["h"].shape == (1, 500) and found.verdict("h") == "explodes"


@pytest.mark.parametrize("feed", ["every", "first"])
def test_a_vector_as_input(feed):
    net = rn.Network(ONE(4), inputs=2, mode="one-to-many", feed=feed)
    params, x = net.init(dtype="float64"), np.ones((3, 2))
    y, state, tape = net.forward(params, x, steps=6)
    dy = np.zeros_like(y)
    dy[:, -1] = y[:, -1]
    found = rn.diagnose(net, params, x, steps=6, at=[0])
    assert found.value == pytest.approx((y[:, -1] ** 2).sum() / 2, rel=1e-12)
    again = rn.diagnose(net, params, x, dy=dy, steps=6, at=[0])
    np.testing.assert_allclose(found.gradient_norms["h"], again.gradient_norms["h"], rtol=1e-12)
    assert found.gradient_norms["h"].shape == (3, 6)
    np.testing.assert_allclose(found.gradient_norms["h"][:, -1], np.linalg.norm(y[:, -1], axis=1), rtol=1e-12)


X = np.zeros((2, 4, 3))


@pytest.mark.parametrize("given, words", [
    ({"target": np.zeros((2, 4, 5))}, "a target and a loss belong together"),
    ({"target": X, "dy": X, "loss": "x"}, "give a target and a loss, or dy, not both"),
    ({"dy": X}, r"dy must be numbers in the shape of y, \(2, 4, 5\), got float64 in \(2, 4, 3\)"),
    ({"at": [4]}, r"at must be integers from 0 to 3, the steps of the sequence, got \[4\]"),
    ({"at": -1}, "at must be an integer of at least 0, got -1"),
    ({"at": 1.5}, "at must be an integer of at least 0, got 1.5"),
    ({"sequence": 2}, "sequence must be one of the 2 that are given, got 2"),
    ({"exponents": -1}, "exponents must be an integer of at least 0, got -1"),
    ({"threshold": 0.5}, "threshold must lie between 0 and 0.5, got 0.5"),
])  # fmt: skip
def test_wrong_arguments_are_refused_in_words(given, words):
    net = rn.Network(ONE(5), inputs=3)
    with pytest.raises(InputError, match=words):
        rn.diagnose(net, net.init(), X, **given)
