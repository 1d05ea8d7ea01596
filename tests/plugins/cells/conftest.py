"""A recurrent operator of ONNX Runtime as an outside judge of cells."""

import numpy as np
import pytest


def session(op, arrays, units, inputs, batch, time, **attributes):
    """An inference session of one operator ("LSTM", "GRU", "RNN") with W, R, B and perhaps P held in it."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    directions = arrays["W"].shape[0]
    states = ["h", "c"] if op == "LSTM" else ["h"]
    names = ["X", "W", "R", "B", "lengths", *[s + "0" for s in states], *(["P"] if "P" in arrays else [])]
    results = ["Y", *["Y_" + s for s in states]]
    direction = "bidirectional" if directions == 2 else "forward"
    node = helper.make_node(op, names, results, hidden_size=units, direction=direction, **attributes)
    given = [helper.make_tensor_value_info("X", real, [time, batch, inputs])]
    given.append(helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, [batch]))
    given += [helper.make_tensor_value_info(s + "0", real, [directions, batch, units]) for s in states]
    made = [helper.make_tensor_value_info("Y", real, [time, directions, batch, units])]
    made += [helper.make_tensor_value_info("Y_" + s, real, [directions, batch, units]) for s in states]
    held = [onnx.numpy_helper.from_array(v, n) for n, v in arrays.items()]
    graph = helper.make_graph([node], op, given, made, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def run_operator(op, arrays, x, lengths, start, **attributes):
    """Outputs (batch, time, directions * units) and final states (directions, batch, units), as the operator says."""
    batch, time, inputs = x.shape
    units = arrays["R"].shape[2]
    run = session(op, arrays, units, inputs, batch, time, **attributes)
    states = {name + "0": value for name, value in start.items()}
    y, *final = run.run(None, {"X": x.swapaxes(0, 1), "lengths": lengths.astype("int32"), **states})
    return y.transpose(2, 0, 1, 3).reshape(batch, time, -1), dict(zip(start, final, strict=True))


@pytest.fixture
def operator():
    return run_operator


@pytest.fixture
def stack():
    """Our arrays of some gates under one another, for each direction."""

    def stacked(params, prefixes, letter, gates, sign=None):
        sign = sign or {}
        return np.stack(
            [np.concatenate([sign.get(g, 1) * params[f"{p}{letter}{g}"] for g in gates]) for p in prefixes]
        )

    return stacked
