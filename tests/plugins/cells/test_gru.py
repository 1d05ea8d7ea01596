"""The GRU against ONNX Runtime's operator, reset before and after the product; its z is 1 - ours."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import LanguageError
from rnncore.testing import close

GATES, SIGNS = "zrn", {"z": -1}


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("units, batch, time", [(1, 1, 1), (7, 5, 9), (33, 3, 20), (64, 4, 30)])
def test_the_operator_of_onnx(units, batch, time, reset, operator, stack):
    rng = np.random.default_rng(units)
    net = rn.Network(rn.cells.gru(units, reset=reset), inputs=5)
    params = net.init(seed=units)
    params.flat[:] += 0.1 * rng.standard_normal(params.flat.size).astype("float32")
    x = rng.standard_normal((batch, time, 5)).astype("float32")
    lengths = rng.integers(1, time + 1, batch)
    start = rng.standard_normal((1, batch, units)).astype("float32")
    zero = np.zeros(units, "float32")
    of_n = [params["b_n"], zero] if reset == "before" else [params["b_xn"], params["b_hn"]]
    bias = [-params["b_z"], params["b_r"], of_n[0], zero, zero, of_n[1]]
    arrays = {
        "W": stack(params, [""], "W_x", GATES, SIGNS),
        "R": stack(params, [""], "W_h", GATES, SIGNS),
        "B": np.concatenate(bias)[None],
    }
    want, final = operator("GRU", arrays, x, lengths, {"h": start}, linear_before_reset=int(reset == "after"))
    y, state = net(params, x, lengths=lengths, state={"h": start[0]})
    close("output", y, want, 2e-5)
    close("final h", state["h"], final["h"][0], 2e-5)


def test_the_names_of_both_forms():
    before = rn.Network(rn.cells.gru(3), inputs=2).shapes
    assert list(before) == ["W_xz", "W_hz", "b_z", "W_xr", "W_hr", "b_r", "W_xn", "W_hn", "b_n"]
    after = rn.Network(rn.cells.gru(3, reset="after"), inputs=2).shapes
    assert set(after) - set(before) == {"b_xn", "b_hn"} and set(before) - set(after) == {"b_n"}


def test_an_unknown_reset_is_an_error():
    with pytest.raises(LanguageError, match="reset must be 'before' or 'after', got 'middle'"):
        rn.Network(rn.cells.gru(3, reset="middle"), inputs=2)
