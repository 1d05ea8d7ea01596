"""How fast does an attention decoder train against the same network as a PyTorch loop and as a JAX scan?

``python -m benchmarks.attention``: a bidirectional GRU encoder and a GRU decoder with Bahdanau's scorer, 32 sequences
of 50 steps to 50 steps, 128 units (64 a direction), tokens of 64 kinds on both sides, teacher forcing, cross-entropy:
its value and the gradients of every weight. PyTorch runs its own fused GRU as the encoder and a loop of matrix products
over all sequences as the decoder; JAX two scans and one, under jit. All see the same weights; their losses must agree.
Calls take turns, and all rest between turns until the others' threads sleep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import TURNS, arguments, in_turns, needs, table, verdict

BATCH, SOURCE, TARGET, UNITS, KINDS = 32, 50, 50, 128, 64
BARS = {"torch": 5.0, "jax": 1.5}


class Decoder:
    """A training step by scorer."""

    params = ["bahdanau", "concat", "dot", "general", "location"]
    param_names = ["scorer"]
    version = "1"

    def setup(self, scorer):
        self.step = ours(*problem(scorer))
        self.step()

    def time_step(self, scorer):
        self.step()


class Against:
    """How many times faster than PyTorch's loop and JAX's scan, called in turns."""

    version = "1"
    timeout = 300

    def setup(self):
        needs("jax", "torch")

    def track_torch_loop(self):
        return self.ratio(torch_step)

    def track_jax_scan(self):
        return self.ratio(jax_step)

    def ratio(self, peer):
        net, params, x, target = problem()
        seconds = in_turns({"ours": ours(net, params, x, target), "theirs": peer(params, x, target)}, 5)
        return seconds["theirs"] / seconds["ours"]


def problem(scorer: str = "bahdanau"):
    """The network, its parameters, sources and targets."""
    import rnncore as rn

    encoder = rn.topologies.bidirectional(rn.cells.gru(UNITS // 2, reset="after"))
    decoder = rn.cells.gru(UNITS, reset="after")
    layer = rn.topologies.encoder_decoder(encoder, decoder, outputs=KINDS, scorer=rn.scorers[scorer])
    net = rn.Network(layer, inputs=rn.Tokens(KINDS))
    rng = np.random.default_rng(0)
    x, target = rng.integers(0, KINDS, (BATCH, SOURCE)), rng.integers(0, KINDS, (BATCH, TARGET))
    return net, net.init(seed=0), x, target


def ours(net, params, x, target) -> Callable[[], float]:
    return lambda: net.loss_and_grad(params, x, target, loss="cross_entropy")[0]


def torch_step(params, x, target) -> Callable[[], float]:
    """The decoder as a loop in Python over tensors of all sequences."""
    import torch

    gru = _torch_encoder(torch, params)
    p = {k: torch.tensor(v, requires_grad=True) for k, v in params.items() if not k.startswith("encoder.")}
    w_x, w_c, w_h = (torch.cat([p[f"decoder.W_{a}{g}"] for g in "zrn"]).detach().requires_grad_() for a in "xCh")
    b_x = torch.cat([p["decoder.b_z"], p["decoder.b_r"], p["decoder.b_xn"]]).detach().requires_grad_()
    leaves = [*gru.parameters(), w_x, w_c, w_h, b_x, p["decoder.b_hn"], p["scorer.W_ka"],
              p["scorer.W_qa"], p["scorer.b_a"], p["scorer.v"], p["bridge.W_h"], p["bridge.b_h"], p["readout.V"],
              p["readout.c"]]  # fmt: skip
    one_hot = torch.eye(KINDS)[torch.tensor(x)]
    truth = torch.tensor(target)
    fed = torch.cat([torch.zeros(BATCH, 1, KINDS), torch.eye(KINDS)[truth[:, :-1]]], 1)

    def step() -> float:
        for leaf in leaves:
            leaf.grad = None
        values, end = gru(one_hot)
        h = torch.cat([end[0], end[1]], 1) @ p["bridge.W_h"].T + p["bridge.b_h"]
        keys, read, outs = values @ p["scorer.W_ka"].T + p["scorer.b_a"], fed @ w_x.T + b_x, []
        for t in range(TARGET):
            alpha = torch.softmax(torch.tanh((h @ p["scorer.W_qa"].T)[:, None] + keys) @ p["scorer.v"], 1)
            context = torch.bmm(alpha[:, None], values)[:, 0]
            a, u = read[:, t] + context @ w_c.T, h @ w_h.T
            z, r = torch.sigmoid(a[:, :UNITS] + u[:, :UNITS]), torch.sigmoid((a + u)[:, UNITS : 2 * UNITS])
            n = torch.tanh(a[:, 2 * UNITS :] + r * (u[:, 2 * UNITS :] + p["decoder.b_hn"]))
            h = (1 - z) * h + z * n
            outs.append(h)
        o = torch.stack(outs, 1) @ p["readout.V"].T + p["readout.c"]
        loss = torch.nn.functional.cross_entropy(o.reshape(-1, KINDS), truth.reshape(-1))
        loss.backward()
        return float(loss.detach())

    return step


def _torch_encoder(torch, params):
    """Its update gate is one minus ours (`rnncore_plugins.cells.gru`)."""
    gru = torch.nn.GRU(KINDS, UNITS // 2, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for way, suffix in (("forward", ""), ("backward", "_reverse")):
            p = {k.removeprefix(f"encoder.{way}."): v for k, v in params.items() if f".{way}." in k}
            for name, side in (("weight_ih_l0", "W_x"), ("weight_hh_l0", "W_h")):
                parts = [p[side + "r"], -p[side + "z"], p[side + "n"]]
                getattr(gru, name + suffix).copy_(torch.tensor(np.concatenate(parts)))
            zero = np.zeros(UNITS // 2, "float32")
            getattr(gru, "bias_ih_l0" + suffix).copy_(torch.tensor(np.concatenate([p["b_r"], -p["b_z"], p["b_xn"]])))
            getattr(gru, "bias_hh_l0" + suffix).copy_(torch.tensor(np.concatenate([zero, zero, p["b_hn"]])))
    return gru


def jax_step(params, x, target) -> Callable[[], float]:
    """Scans under jit; value and gradient."""
    import jax
    import jax.numpy as jnp

    weights = {k: jnp.asarray(v) for k, v in params.items()}
    one_hot = jnp.eye(KINDS)[x].transpose(1, 0, 2)
    fed = jnp.concatenate([jnp.zeros((1, BATCH, KINDS)), jnp.eye(KINDS)[target[:, :-1]].transpose(1, 0, 2)])
    truth = jnp.asarray(target.T)

    def cell(p, prefix, a, h):
        gate = lambda g: a[g] + h @ p[f"{prefix}W_h{g}"].T  # noqa: E731
        z, r = jax.nn.sigmoid(gate("z")), jax.nn.sigmoid(gate("r"))
        n = jnp.tanh(a["n"] + r * (h @ p[prefix + "W_hn"].T + p[prefix + "b_hn"]))
        return (1 - z) * h + z * n

    def inputs(p, prefix, v):
        bias = {"z": p[prefix + "b_z"], "r": p[prefix + "b_r"], "n": p[prefix + "b_xn"]}
        return {g: v @ p[f"{prefix}W_x{g}"].T + bias[g] for g in "zrn"}

    def direction(p, way):
        prefix = f"encoder.{way}."

        def body(h, a):
            h = cell(p, prefix, a, h)
            return h, h

        h0 = jnp.zeros((BATCH, UNITS // 2))
        return jax.lax.scan(body, h0, inputs(p, prefix, one_hot), reverse=way == "backward")

    def loss(p):
        (end1, out1), (end2, out2) = direction(p, "forward"), direction(p, "backward")
        values = jnp.concatenate([out1, out2], 2).transpose(1, 0, 2)
        keys = values @ p["scorer.W_ka"].T + p["scorer.b_a"]

        def body(h, a):
            alpha = jax.nn.softmax(jnp.tanh((h @ p["scorer.W_qa"].T)[:, None] + keys) @ p["scorer.v"], 1)
            context = jnp.einsum("bs,bsd->bd", alpha, values)
            a = {g: a[g] + context @ p[f"decoder.W_C{g}"].T for g in "zrn"}
            h = cell(p, "decoder.", a, h)
            return h, h

        h0 = jnp.concatenate([end1, end2], 1) @ p["bridge.W_h"].T + p["bridge.b_h"]
        _, hs = jax.lax.scan(body, h0, inputs(p, "decoder.", fed))
        o = jax.nn.log_softmax(hs @ p["readout.V"].T + p["readout.c"])
        return -jnp.take_along_axis(o, truth[..., None], 2).mean()

    both = jax.jit(jax.value_and_grad(loss))

    def step() -> float:
        value, grads = both(weights)
        jax.block_until_ready(grads)
        return float(value)

    return step


def main() -> None:
    options = arguments(__doc__, rounds=(9, TURNS))
    import torch

    torch.set_num_threads(options.threads)
    net, params, x, target = problem()
    steps: dict[str, Callable[[], Any]] = {
        "ours": ours(net, params, x, target),
        "torch": torch_step(params, x, target),
        "jax": jax_step(params, x, target),
    }
    values = {name: step() for name, step in steps.items()}
    spread = max(values.values()) - min(values.values())
    if spread > 1e-4:
        raise SystemExit(f"the losses differ: {values}")
    seconds = in_turns(steps, options.rounds)
    ratio = {name: seconds[name] / seconds["ours"] for name in BARS}
    times = {name: s / seconds["ours"] for name, s in seconds.items()}
    rows = [[name, f"{1e3 * s:.1f}", f"{times[name]:.2f}", f"{values[name]:.5f}"] for name, s in seconds.items()]
    shape = f"B{BATCH} {SOURCE} to {TARGET} H{UNITS}"
    print(f"medians of {options.rounds} turns of 3 calls, {options.threads} threads, {shape}")
    print(table(("training step", "ms", "times ours", "loss"), rows))
    slow = [f"{ratio[n]:.2f} times faster than {n}; the bar is {bar}" for n, bar in BARS.items() if ratio[n] < bar]
    verdict(options, slow)


if __name__ == "__main__":
    main()
