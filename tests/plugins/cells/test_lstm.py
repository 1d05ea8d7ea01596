"""The LSTM against ONNX Runtime's operator, with and without diagonal peepholes."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import LanguageError
from rnncore.testing import check_gradients, check_kernel, close

GATES = "iofg"  # the order of the operator: input, output, forget, cell


@pytest.mark.parametrize("peephole", [None, "diagonal"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("units, batch, time", [(1, 1, 1), (7, 5, 9), (33, 3, 20), (64, 4, 30)])
def test_the_operator_of_onnx(units, batch, time, directions, peephole, operator, stack):
    rng = np.random.default_rng(units)
    layer = rn.cells.lstm(units, peephole=peephole)
    prefixes = ["forward.", "backward."] if directions == 2 else [""]
    net = rn.Network(rn.topologies.bidirectional(layer) if directions == 2 else layer, inputs=5)
    params = net.init(seed=units)
    params.flat[:] += 0.1 * rng.standard_normal(params.flat.size).astype("float32")
    x = rng.standard_normal((batch, time, 5)).astype("float32")
    lengths = rng.integers(1, time + 1, batch)
    start = {s: rng.standard_normal((directions, batch, units)).astype("float32") for s in "hc"}
    bias = stack(params, prefixes, "b_", GATES)
    arrays = {
        "W": stack(params, prefixes, "W_x", GATES),
        "R": stack(params, prefixes, "W_h", GATES),
        "B": np.concatenate([bias, np.zeros_like(bias)], 1),
    }
    if peephole:
        arrays["P"] = stack(params, prefixes, "W_c", "iof")
    want, want_final = operator("LSTM", arrays, x, lengths, start)
    state = {p + s: start[s][d] for d, p in enumerate(prefixes) for s in "hc"}
    y, final = net(params, x, lengths=lengths, state=state)
    close("output", y, want, 2e-5)
    for d, prefix in enumerate(prefixes):
        for s in "hc":
            close(f"final {s}", final[prefix + s], want_final[s][d], 2e-5)


@pytest.mark.parametrize("units", [1, 3, 17, 40])
def test_peepholes_by_a_matrix_against_the_reference_and_the_complex_step(units):
    net = rn.Network(rn.cells.lstm(units, peephole="full"), inputs=4)
    assert all(net.shapes[f"W_c{g}"] == (units, units) for g in "ifo")
    check_kernel(net)
    check_kernel(net, dtype="float32")
    check_gradients(net)


def test_the_output_gate_sees_the_new_memory_and_the_others_the_old():
    net = rn.Network(rn.cells.lstm(1, peephole="diagonal"), inputs=1)
    params = net.init(dtype="float64")
    params.flat[:] = 0
    for name, number in {"W_ci": 1, "W_cf": 2, "W_co": 4, "b_g": 0.5}.items():
        params[name][:] = number
    _, state = net(params, np.zeros((1, 1, 1)), state={"c": np.array([[0.3]])})

    def s(a):
        return 1 / (1 + np.exp(-a))

    c = s(0.6) * 0.3 + s(0.3) * np.tanh(0.5)
    assert state["c"][0, 0] == pytest.approx(c, rel=1e-14)
    assert state["h"][0, 0] == pytest.approx(s(4 * c) * np.tanh(c), rel=1e-14)


def test_the_forget_gate_starts_open():
    params = rn.Network(rn.cells.lstm(3), inputs=2).init()
    assert params["b_f"].tolist() == [1, 1, 1] and params["b_i"].tolist() == [0, 0, 0]


def test_an_unknown_peephole_is_an_error():
    with pytest.raises(LanguageError, match="peephole must be None, 'diagonal' or 'full', got 'half'"):
        rn.Network(rn.cells.lstm(3, peephole="half"), inputs=2)
