"""Masks and resets of a decoder's source: held against every episode read on its own by the reference."""

import numpy as np
import pytest
import stress
from hypothesis import given, settings
from hypothesis import strategies as st
from writers import CELLS, SCORERS, Problem, by_episodes, combined, network

import rnncore as rn
from rnncore.testing import close, same_bits

STEP = 1e-30


class Masked(Problem):
    """A problem of which steps of the source are left out, and episodes start within it."""

    def __init__(self, net, seed=0, mask=0.7, reset=0.3, **options):
        super().__init__(net, seed=seed, **options)
        rng = np.random.default_rng(seed + 5)
        self.mask, self.reset = rng.random(self.x.shape[:2]) < mask, rng.random(self.x.shape[:2]) < reset
        if len(self.mask) > 2:
            self.mask[2] = False
        self.marks = {"mask": self.mask, "reset": self.reset.astype("int8")}
        self.state = {
            k: rng.standard_normal((len(self.x), *s)) for k, s in net.state_shapes.items() if k.startswith("encoder")
        }

    @property
    def counted(self):
        return self.mask & (np.arange(self.x.shape[1]) < self.lengths[:, None])

    @property
    def inside(self):
        return np.arange(self.dy.shape[1])[:, None] < self.target_lengths[:, None, None]

    def everything(self, x=None, **given):
        given = {**self.given, **self.marks, "state": self.state, **given}
        y, final, tape = self.net.forward(self.params, self.x if x is None else x, **given)
        return y, final, *self.net.backward(self.params, tape, self.dy, dstate=self.dstate)

    def by_hand(self, params=None, x=None, state=None):
        given = params or dict(self.params), self.x if x is None else x, self.state if state is None else state
        return by_episodes(self, *given, self.mask, self.reset)


def check(p):
    """Values, gradients, slopes along directions, all by the complex step."""
    rng, y_final = np.random.default_rng(9), p.by_hand()
    y, final, dx, dstate, grads = p.everything()
    close("output", y, y_final[0].real, 1e-12)
    same_bits("without a tape", p.net(p.params, p.x, state=p.state, **p.given, **p.marks), (y, final))
    for path in final:
        close(f"final {path}", final[path], y_final[1][path].real, 1e-12)
    along = p.params.with_flat(rng.standard_normal(p.params.flat.size))
    ax, start = rng.standard_normal(p.x.shape), {k: rng.standard_normal(v.shape) for k, v in p.state.items()}
    moved = {k: v + 1j * STEP * along[k] for k, v in p.params.items()}
    ahead = {k: v + 1j * STEP * start[k] for k, v in p.state.items()}
    want, want_final = p.by_hand(moved, p.x + 1j * STEP * ax, ahead)
    given = {**p.given, **p.marks, "state": p.state}
    _, y_dot, _, final_dot = p.net.jvp(p.params, p.x, dparams=along, dx=ax, dstate=start, **given)
    close("direction", y_dot, want.imag / STEP, 1e-10)
    for path in final_dot:
        close(f"direction of {path}", final_dot[path], want_final[path].imag / STEP, 1e-10)
    forward = (np.where(p.inside, p.dy, 0) * want.imag).sum() + sum(
        (p.dstate[k] * want_final[k].imag).sum() for k in final
    )
    terms = [grads.flat * along.flat, dx * ax, *(dstate[k] * start[k] for k in start)]
    assert abs(forward / STEP - sum(t.sum() for t in terms)) <= 1e-9 * sum(np.abs(t).sum() for t in terms)


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_episode_is_read_on_its_own(cell, scorer):
    check(Masked(combined(cell, scorer)))


@pytest.mark.parametrize("bridge", ["affine", "copy", "zero"])
@pytest.mark.parametrize("encoder", ["layer", "deep", "both"])
def test_every_encoder_and_bridge(encoder, bridge):
    g, t = rn.cells.gru, rn.topologies
    made = {"layer": g(6), "deep": t.deep(g(4), g(6)),
            "both": t.deep(t.bidirectional(g(2)), t.bidirectional(g(3)))}[encoder]  # fmt: skip
    check(Masked(network(g, SCORERS["bahdanau"], encoder=made, bridge=bridge)))


BASE = network(rn.cells.gru, SCORERS["bahdanau"])
LEARNED = rn.Network(network(rn.cells.gru, SCORERS["bahdanau"], bridge="zero").layer, inputs=3, initial_state="learned")


def test_learned_starts():
    p = Masked(LEARNED)
    check(p)
    p.state = {}
    check(p)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 7), st.integers(1, 4))
def test_any_batch_source_and_target(seed, batch, source, steps):
    p = Masked(BASE, seed, batch=batch, source=source, steps=steps)
    y, final, *_ = p.everything()
    want, want_final = p.by_hand()
    close("output", y, want, 1e-12)
    for path in final:
        close(path, final[path], want_final[path], 1e-12)


def test_a_mask_leaves_steps_out():
    """It gives the numbers of the source without these steps; ones and then zeros, those of lengths, bit for bit."""
    p = Masked(BASE, reset=0)
    found = p.everything()
    short = [v[m] for v, m in zip(p.x, p.counted)]
    alone = p.everything(short, lengths=None, mask=None, reset=None)
    same_bits("steps left out", (alone[0], alone[1], alone[4]), (found[0], found[1], found[4]))
    full = {"lengths": None, "mask": np.arange(7) < p.lengths[:, None], "reset": None}
    same_bits("lengths", p.everything(**full), p.everything(mask=None, reset=None))


def test_what_is_masked_is_never_read():
    p = Masked(BASE)
    x = np.where(p.counted[..., None], p.x, np.nan)
    same_bits("NaN", p.everything(x), p.everything())
    assert not p.everything()[2][~p.counted].any()


@pytest.mark.parametrize("scorer", [name for name in SCORERS if name != "none"])
def test_the_weights_of_masked_steps_are_nothing(scorer):
    p = Masked(network(rn.cells.gru, SCORERS[scorer]))
    y, alpha = p.net.attention(p.params, p.x, state=p.state, **p.given, **p.marks)
    same_bits("output", y, p.everything()[0])
    read = p.inside & p.counted[:, None]
    assert alpha.shape == (4, 5, 7) and not alpha[~read].any() and (alpha[read] > 0).all()
    assert alpha.sum(2)[read.any(2)] == pytest.approx(1, abs=1e-12)


def test_the_product_with_the_hessian_is_the_slope_of_the_gradient():
    p, rng = Masked(LEARNED), np.random.default_rng(3)
    v, w = rng.standard_normal((2, p.params.flat.size))
    given = {k: g for k, g in p.given.items() if k != "target"} | p.marks | {"loss": stress.entropy, "state": p.state}

    def gradient(a):
        return p.net.loss_and_grad(p.params.with_flat(p.params.flat + a * v), p.x, p.target, **given)[1].flat

    near, middle, far = (gradient(k * 1e-3) - gradient(-k * 1e-3) for k in (1, 2, 3))
    value, grads, product = p.net.hvp(p.params, p.x, p.target, v, **given)
    close("gradient", grads.flat, gradient(0), 1e-13)
    close("product", product.flat, (45 * near - 9 * middle + far) / 0.06, 1e-8)
    other = p.net.hvp(p.params, p.x, p.target, w, **given)[2]
    assert w @ product.flat == pytest.approx(v @ other.flat, rel=1e-10)
    for every in (2, "sqrt"):
        again = p.net.hvp(p.params, p.x, p.target, v, checkpoint=every, **given)[2]
        close("with checkpoints", again.flat, product.flat, 1e-12)


@pytest.mark.parametrize(("marks", "words"), [
    ({"mask": np.ones((4, 5))}, r"mask must have shape \(batch, time\) = \(4, 7\), got \(4, 5\)"),
    ({"reset": np.full((4, 7), 2)}, "reset must be 0 or 1 at each step, got 2"),
])  # fmt: skip
def test_wrong_marks_are_refused(marks, words):
    p = Masked(BASE)
    calls = [p.net, p.net.forward, p.net.attention, p.net.jvp, p.net.bind(p.params)]
    for call in calls:
        arguments = (p.x,) if call is calls[-1] else (p.params, p.x)
        with pytest.raises(rn.InputError, match=words):
            call(*arguments, steps=2, **marks)


@pytest.mark.parametrize("attend", ["before", "after"])
def test_streams_and_generation_read_the_same_source(attend):
    p = Masked(network(rn.cells.gru, SCORERS["general"], attend, feedback="argmax"))
    read = {"lengths": p.lengths, "state": p.state, **p.marks}
    want, final = p.net(p.params, p.x, steps=5, **read)
    alpha = p.net.attention(p.params, p.x, steps=5, **read)[1]
    stream = p.net.stream(p.params, x=p.x, **read)
    for t in range(5):
        same_bits(f"step {t}", stream.step(), want[:, t])
        same_bits(f"alpha {t}", stream.alpha, alpha[:, t])
    written = rn.generate(p.net, p.params, p.x, steps=5, **read)
    assert (written.tokens == want.argmax(2)).all()
    short = [v[m] for v, m in zip(p.x, p.counted)]
    p.marks["reset"][:] = 0
    beams = rn.generate(p.net, p.params, p.x, steps=5, beam=3, lengths=p.lengths, **p.marks)
    same_bits("beams", beams.tokens, rn.generate(p.net, p.params, short, steps=5, beam=3).tokens)


def test_marks_are_of_a_source():
    net = rn.Network(rn.cells.gru(4), inputs=rn.Tokens(3), outputs=3)
    with pytest.raises(rn.InputError, match="mask and reset are of the source that a decoder reads"):
        rn.generate(net, net.init(), [[1, 2]], steps=2, mask=[[1, 1]])
    with pytest.raises(rn.InputError, match="of a decoder's source"):
        net.stream(net.init(), mask=[[1]])
