"""ONNX Runtime's layers, for inference in float32: a graph of one node, made here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..common import Case
from . import stacked

# our name: (operator, order of its gates, sign of each: their z is one minus ours, attributes)
KINDS: dict[str, tuple[str, str, tuple[int, ...], dict[str, int]]] = {
    "lstm": ("LSTM", "iofg", (1, 1, 1, 1), {}),
    "gru, reset after": ("GRU", "zrn", (-1, 1, 1), {"linear_before_reset": 1}),
    "gru, reset before": ("GRU", "zrn", (-1, 1, 1), {"linear_before_reset": 0}),
    "vanilla": ("RNN", "h", (1,), {}),
}
OPSET, IR = 17, 8


def model(one: Case) -> bytes:
    """The graph with our weights inside."""
    import onnx
    from onnx import helper, numpy_helper

    operator, gates, signs, attributes = KINDS[one.cell]
    units, zero = one.dy.shape[2], np.zeros(one.dy.shape[2], "float32")
    bias = [s * one.params.get(f"b_{g}", one.params.get(f"b_x{g}")) for g, s in zip(gates, signs, strict=True)]
    bias += [s * one.params.get(f"b_h{g}", zero) if len(gates) == 3 else zero for g, s in zip(gates, signs)]
    arrays = {"W": stacked(one.params, "W_x", gates, signs), "R": stacked(one.params, "W_h", gates, signs)}
    arrays["B"] = np.concatenate(bias)
    node = helper.make_node(operator, ["x", *arrays], ["y"], hidden_size=units, **attributes)
    kind, (batch, steps, inputs) = onnx.TensorProto.FLOAT, one.x.shape
    graph = helper.make_graph(
        [node], "layer",
        [helper.make_tensor_value_info("x", kind, [steps, batch, inputs])],
        [helper.make_tensor_value_info("y", kind, [steps, 1, batch, units])],
        [numpy_helper.from_array(v[None].astype("float32"), name) for name, v in arrays.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    return made.SerializeToString()


def calls(one: Case, threads: int) -> dict[str, Callable[[], Any]]:
    if one.cell not in KINDS or one.x.dtype != np.float32:
        return {}
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model(one), options, providers=["CPUExecutionProvider"])
    x = np.ascontiguousarray(one.x.swapaxes(0, 1))
    return {"infer": lambda: session.run(["y"], {"x": x})[0][:, 0]}
