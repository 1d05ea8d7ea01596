"""Attention decoders against PyTorch: the equations written out step by step, float64, ragged sources and targets."""

import numpy as np
import pytest

import rnncore as rn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

SOURCE, TARGET, INPUTS, CLASSES, ENCODER, UNITS = 7, 5, 3, 6, 4, 8


def network(scorer, attend, feeding, bridge="affine"):
    encoder = rn.topologies.bidirectional(rn.cells.gru(ENCODER))
    layer = rn.topologies.encoder_decoder(
        encoder, rn.cells.lstm(UNITS), outputs=CLASSES, scorer=scorer, attend=attend, input_feeding=feeding,
        bridge=bridge,
    )  # fmt: skip
    return rn.Network(layer, inputs=INPUTS)


def problem(net, seed=0, batch=4):
    rng = np.random.default_rng(seed)
    params = net.init(seed=1, dtype="float64")
    params.flat[:] = 0.4 * rng.standard_normal(params.flat.size)
    x = rng.standard_normal((batch, SOURCE, INPUTS))
    target = rng.integers(0, CLASSES, (batch, TARGET))
    lengths, target_lengths = np.array([SOURCE, 3, 1, 5]), np.array([2, TARGET, 4, 3])
    return params, x, target, lengths, target_lengths, rng.standard_normal((batch, TARGET, CLASSES))


class Peer:
    """One sequence at a time, one step at a time."""

    def __init__(self, params, scorer, attend, feeding):
        self.p = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
        self.scorer, self.attend, self.feeding = scorer, attend, feeding

    def gru(self, prefix, x, h):
        p = self.p
        gate = lambda g, u: p[f"{prefix}W_x{g}"] @ x + p[f"{prefix}W_h{g}"] @ u + p[f"{prefix}b_{g}"]  # noqa: E731
        z, r = torch.sigmoid(gate("z", h)), torch.sigmoid(gate("r", h))
        n = torch.tanh(gate("n", r * h))
        return (1 - z) * h + z * n

    def lstm(self, operands, h, c):
        p = self.p

        def gate(g):
            total = p[f"decoder.W_h{g}"] @ h + p[f"decoder.b_{g}"]
            for name, value in operands.items():
                total = total + p[f"decoder.W_{name}{g}"] @ value
            return total

        i, f, o = (torch.sigmoid(gate(g)) for g in "ifo")
        c = f * c + i * torch.tanh(gate("g"))
        return o * torch.tanh(c), c

    def encode(self, x):
        ends, outputs = [], []
        for way, steps in (("forward", range(len(x))), ("backward", range(len(x) - 1, -1, -1))):
            h, hs = torch.zeros(ENCODER, dtype=torch.float64), {}
            for t in steps:
                h = hs[t] = self.gru(f"encoder.{way}.", x[t], h)
            ends.append(h)
            outputs.append(torch.stack([hs[t] for t in range(len(x))]))
        return torch.cat(outputs, 1), torch.cat(ends)

    def score(self, q, keys):
        p = self.p
        if self.scorer == "bahdanau":
            asked = p["scorer.W_qa"] @ q + p["scorer.b_a"]
            return torch.stack([p["scorer.v"] @ torch.tanh(asked + p["scorer.W_ka"] @ k) for k in keys])
        if self.scorer == "concat":
            both = torch.cat([p["scorer.W_qa"], p["scorer.W_ka"]], 1)
            return torch.stack([p["scorer.v"] @ torch.tanh(both @ torch.cat([q, k])) for k in keys])
        if self.scorer == "general":
            return torch.stack([q @ p["scorer.W_ka"] @ k for k in keys])
        return keys @ q / (UNITS**0.5 if self.scorer == "scaled_dot" else 1)

    def context(self, q, values):
        alpha = torch.softmax(self.score(q, values), 0)
        return alpha @ values, alpha

    def run(self, x, fed):
        """Logits and alpha of one sequence; `fed(t, o)` gives what step t + 1 reads."""
        p = self.p
        values, end = self.encode(x)
        h, c = (p[f"bridge.W_{s}"] @ end + p[f"bridge.b_{s}"] for s in "hc")
        y, s = torch.zeros(CLASSES, dtype=torch.float64), torch.zeros(UNITS, dtype=torch.float64)
        outs, alphas = [], []
        for t in range(TARGET):
            operands = {"x": y}
            if self.scorer and self.attend == "before":
                operands["C"], alpha = self.context(h, values)
            if self.feeding:
                operands["s"] = s
            h, c = self.lstm(operands, h, c)
            out = h
            if self.scorer and self.attend == "after":
                C, alpha = self.context(h, values)
                out = s = torch.tanh(p["attention.W_hs"] @ h + p["attention.W_Cs"] @ C)
            o = p["readout.V"] @ out + p["readout.c"]
            outs.append(o)
            if self.scorer:
                alphas.append(alpha)
            y = fed(t, o)
        return torch.stack(outs), alphas


def one_hot(k):
    return torch.nn.functional.one_hot(torch.as_tensor(k), CLASSES).double()


FORMS = [(None, "before", False), ("bahdanau", "before", False), ("bahdanau", "after", True), ("dot", "after", False),
         ("scaled_dot", "before", False), ("general", "after", True), ("concat", "before", False)]  # fmt: skip


@pytest.mark.parametrize("scorer, attend, feeding", FORMS)
def test_forward_attention_and_all_gradients_agree(scorer, attend, feeding):
    net = network(scorer and getattr(rn.scorers, scorer), attend, feeding)
    params, x, target, lengths, target_lengths, dy = problem(net)
    given = {"lengths": lengths, "target": target, "target_lengths": target_lengths}
    y, _, tape = net.forward(params, x, **given)
    dx, _, grads = net.backward(params, tape, dy)
    peer = Peer(params, scorer, attend, feeding)
    xt = torch.tensor(x, requires_grad=True)
    total, alphas = 0.0, []
    for b in range(len(x)):
        o, alpha = peer.run(xt[b, : lengths[b]], lambda t, o, b=b: one_hot(target[b, t]))
        n = target_lengths[b]
        assert y[b, :n] == pytest.approx(o[:n].detach().numpy(), rel=1e-9, abs=1e-11)
        assert not y[b, n:].any()
        alphas.append([a.detach().numpy() for a in alpha[:n]])
        total = total + (o[:n] * torch.tensor(dy[b, :n])).sum()
    total.backward()
    close(dx, xt.grad.numpy(), "dx")
    for name, p in peer.p.items():
        close(grads[name], np.zeros(p.shape) if p.grad is None else p.grad.numpy(), name)
    if scorer:
        _, found = net.attention(params, x, **given)
        for b, rows in enumerate(alphas):
            for t, row in enumerate(rows):
                assert found[b, t, : lengths[b]] == pytest.approx(row, rel=1e-9, abs=1e-12)
        assert not found[1, :, 3:].any() and not found[0, 2:].any()


def close(found, wanted, what):
    assert np.abs(found - wanted).max() <= 1e-9 * max(np.abs(wanted).max(), 1e-3), what


@pytest.mark.parametrize("scorer, attend, feeding", [("bahdanau", "before", False), ("general", "after", True)])
def test_whole_decodes_agree(scorer, attend, feeding):
    net = network(getattr(rn.scorers, scorer), attend, feeding)
    params, x, _, lengths, _, _ = problem(net)
    y, _ = net(params, x, lengths=lengths, steps=TARGET)
    peer = Peer(params, scorer, attend, feeding)
    for b in range(len(x)):
        o, _ = peer.run(torch.tensor(x[b, : lengths[b]]), lambda t, o: one_hot(o.argmax()))
        assert y[b] == pytest.approx(o.detach().numpy(), rel=1e-9, abs=1e-11)
