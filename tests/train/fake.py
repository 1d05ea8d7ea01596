"""A network of a few lines with the face of a real one: nothing to compile, training can be watched."""

import json

import numpy as np

from rnncore.errors import InputError
from rnncore.params import Params


class FakeNetwork:
    """o_t = V tanh(W x_t + b) + c; many-to-one takes the mean over the steps. A seed drops hidden units."""

    def __init__(self, inputs=3, outputs=2, mode="many-to-one", units=4):
        self.inputs, self.outputs, self.mode, self.features = inputs, outputs, mode, units
        self.shapes = {
            "W": (units, inputs), "b": (units,), "readout.V": (outputs, units), "readout.c": (outputs,),
        }  # fmt: skip
        self.block, self.calls = None, 0

    def to_json(self):
        return json.dumps({"fake": [self.inputs, self.outputs, self.mode, self.features]})

    def init(self, seed=0, dtype="float32"):
        rng = np.random.default_rng(seed)
        size = sum(int(np.prod(s)) for s in self.shapes.values())
        return Params(self.shapes, (0.5 * rng.standard_normal(size)).astype(dtype))

    def check_params(self, params):
        if params.shapes != self.shapes:
            raise InputError("params of another network")

    def as_padded(self, x, lengths=None):
        if x.ndim != 3 or x.shape[2] != self.inputs:
            raise InputError(f"input 'x' must have shape (batch, time, {self.inputs}), got {x.shape}")

    def _forward(self, params, x, lengths, keep=1.0):
        x = np.asarray(x, params.dtype)
        live = (np.arange(x.shape[1]) < lengths[:, None])[..., None]
        h = np.tanh(np.where(live, x, 0) @ params["W"].T + params["b"]) * keep
        o = (h @ params["readout.V"].T + params["readout.c"]) * live
        if self.mode == "many-to-one":
            o = o.sum(1) / np.maximum(lengths, 1)[:, None].astype(params.dtype)
        return x, live, h, o

    def __call__(self, params, x, *, lengths):
        return self._forward(params, x, lengths)[3], {}

    def bind(self, params):
        frozen = params.copy()
        return lambda x, lengths: self(frozen, x, lengths=lengths)

    def loss(self, params, x, target, *, loss, lengths, reduction="mean"):
        return self._value(self._forward(params, x, lengths), target, loss, lengths, reduction)[0]

    def _value(self, passed, target, loss, lengths, reduction):
        o = passed[3]
        live = passed[1][..., 0] if self.mode != "many-to-one" else np.ones(len(o), bool)
        if loss.component.target == "class":
            p = np.exp(o - o.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            hot = np.eye(o.shape[-1], dtype=o.dtype)[target]
            values, slope = -np.log((p * hot).sum(-1)), p - hot
        else:
            values, slope = ((o - target) ** 2).mean(-1), 2 * (o - target) / o.shape[-1]
        scale = 1.0 / max(1, live.sum()) if reduction == "mean" else 1.0
        return float((values * live).sum() * scale), (slope * live[..., None] * scale).astype(o.dtype)

    def loss_and_grad(self, params, x, target, *, loss, lengths, reduction="mean", seed=None):
        self.calls += 1
        keep = (np.random.default_rng(seed).random(self.features) < 0.9).astype(params.dtype)
        x, live, h, _ = passed = self._forward(params, x, lengths, keep)
        value, slope = self._value(passed, target, loss, lengths, reduction)
        grads = Params.zeros(self.shapes, params.dtype)
        if self.mode == "many-to-one":
            slope = slope[:, None] / np.maximum(lengths, 1)[:, None, None].astype(params.dtype)
        slope = slope * live
        grads["readout.V"] = np.einsum("bto,bth->oh", slope, h)
        grads["readout.c"] = slope.sum((0, 1))
        inner = (slope @ params["readout.V"]) * (keep - h * h)
        grads["W"] = np.einsum("bth,btf->hf", inner, np.where(live, x, 0))
        grads["b"] = inner.sum((0, 1))
        return value, grads
