"""Directional derivatives and Hessians of every decoder: against the complex step, differences, one another."""

import numpy as np
import pytest
import stress
from writers import CELLS, CLASSES, SCORERS, VARIANTS, Problem, combined, network

import rnncore as rn
from rnncore import reference
from rnncore.testing import close, same_bits

STEP = 1e-30
BOUNDS = {"float32": (1e-4, 1e-3), "float64": (1e-10, 1e-8)}  # of first and second derivatives


class Moved(Problem):
    """A problem with directions of parameters, x, and the decoder's own states, which are given."""

    def __init__(self, net, dtype="float64", **options):
        super().__init__(net, dtype=dtype, **options)
        rng = np.random.default_rng(11)
        self.along = self.params.with_flat(rng.standard_normal(self.params.flat.size).astype(dtype))
        self.across = self.params.with_flat(rng.standard_normal(self.params.flat.size).astype(dtype))
        self.dx = rng.standard_normal(self.x.shape)
        self.ahead = {k: v.astype(float) + 1j * STEP * self.along[k] for k, v in self.params.items()}

    @property
    def task(self):
        """Of losses of numbers: the same true outputs are handed on, one-hot."""
        taught = {k: v for k, v in self.given.items() if k != "target"}
        return {"loss": stress.squared, "reduction": "sum", **taught}

    def jvp(self, x=None, dx=None, **given):
        x, dx = (self.x, self.dx) if x is None else (x, dx)
        return self.net.jvp(self.params, x, dparams=self.along, dx=dx, **{**self.given, **given})

    @property
    def inside(self):
        return np.arange(self.dy.shape[1])[:, None] < self.target_lengths[:, None, None]


def check_slopes(p):
    """The jvp is the complex step of the reference, and the transpose of backward."""
    bound = BOUNDS[str(p.params.dtype)][0]
    y, y_dot, final, final_dot = p.jvp()
    plain, plain_final, (dx, _, grads) = p.back()
    x = p.x.astype(float) + 1j * STEP * p.dx
    want, want_final = reference.run(p.net, p.ahead, x, lengths=p.lengths, written=p.written)
    close("output", y, plain, bound)
    close("direction", y_dot, want.imag / STEP, bound)
    assert not y_dot[~p.inside.repeat(CLASSES, 2)].any()
    for path in want_final:
        close(f"final {path}", final[path], plain_final[path], bound)
        close(f"direction of the final {path}", final_dot[path], want_final[path].imag / STEP, bound)
    terms = [grads.flat * p.along.flat, dx * p.dx]
    forward = (np.where(p.inside, p.dy, 0) * y_dot).sum() + sum((p.dstate[k] * final_dot[k]).sum() for k in final)
    size = sum(np.abs(t).sum() for t in terms)
    assert abs(forward - sum(t.sum() for t in terms)) <= bound * size


def check_bends(p):
    """The hvp is the complex step of the reference's gradient, symmetric, and beside the plain gradient."""
    bound = BOUNDS[str(p.params.dtype)][1]
    target = np.eye(CLASSES)[p.target]
    value, grads, product = p.net.hvp(p.params, p.x, target, p.along, **p.task)
    plain, plain_grads = p.net.loss_and_grad(p.params, p.x, target, **p.task)
    assert value == pytest.approx(plain, rel=bound)
    close("gradient", grads.flat, plain_grads.flat, bound)
    written, x = p.written, p.x.astype(float)
    y, _ = reference.run(p.net, p.ahead, x, lengths=p.lengths, written=written)
    dy = np.where(p.inside, 2 * (y - target) / CLASSES, 0)
    _, _, want = reference.gradients(p.net, p.ahead, x, dy, lengths=p.lengths, written=written)
    close("product", product.flat, np.concatenate([want[path].imag.ravel() for path in p.net.shapes]) / STEP, bound)
    other = p.net.hvp(p.params, p.x, target, p.across, **p.task)[2]
    terms = p.across.flat.astype(float) * product.flat
    assert abs(terms.sum() - p.along.flat.astype(float) @ other.flat) <= bound * np.abs(terms).sum()


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_with_every_scorer(cell, scorer):
    p = Moved(combined(cell, scorer))
    check_slopes(p)
    check_bends(p)


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("cell", CELLS)
def test_padding_is_not_read(cell, scorer):
    p = Moved(combined(cell, scorer))
    found, past = p.jvp(), np.arange(p.x.shape[1]) >= p.lengths[:, None]
    x, dx = (np.pad(np.where(past[..., None], np.nan, v), ((0, 0), (0, 2), (0, 0))) for v in (p.x, p.dx))
    x[:, -2:] = dx[:, -2:] = np.nan
    same_bits("NaN in x", p.jvp(x, dx), found)
    target = np.where(p.inside, np.eye(CLASSES)[p.target], np.nan)
    bends = p.net.hvp(p.params, x, target, p.along, **p.task)
    same_bits("NaN in x and targets", bends, p.net.hvp(p.params, p.x, np.eye(CLASSES)[p.target], p.along, **p.task))


@pytest.mark.parametrize("cell", VARIANTS)
def test_every_form_of_a_cell(cell):
    p = Moved(network(VARIANTS[cell], SCORERS["bahdanau"]))
    check_slopes(p)
    check_bends(p)


@pytest.mark.parametrize("forcing", ["always", "never", 0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_way_of_forcing(forcing, dtype):
    p = Moved(network(rn.cells.gru, SCORERS["bahdanau"]), dtype=dtype, forcing=forcing)
    check_slopes(p)
    check_bends(p)


@pytest.mark.parametrize("bridge", ["affine", "copy", "zero"])
@pytest.mark.parametrize("encoder", ["layer", "deep", "both"])
def test_every_encoder_and_bridge(encoder, bridge):
    g, t = rn.cells.gru, rn.topologies
    made = {"layer": g(6), "deep": t.deep(g(4), g(6)),
            "both": t.deep(t.bidirectional(g(2)), t.bidirectional(g(3)))}[encoder]  # fmt: skip
    p = Moved(network(g, SCORERS["bahdanau"], encoder=made, bridge=bridge))
    check_slopes(p)
    check_bends(p)


@pytest.mark.parametrize("attend", ["before", "after"])
def test_a_decoder_of_several_layers(attend):
    g, t = rn.cells.gru, rn.topologies
    encoder = t.deep(t.bidirectional(g(3)), g(6))
    p = Moved(network(lambda n: t.deep(g(n), g(n)), SCORERS["general"], attend, encoder=encoder))
    check_slopes(p)
    check_bends(p)


@pytest.mark.parametrize("units", [1, 2, 16, 17])
def test_sizes_that_fill_vectors_and_that_do_not(units):
    net = network(rn.cells.gru, SCORERS["concat"], units=units, encoder=rn.cells.gru(units))
    for source, steps, batch in ((1, 1, 1), (3, 13, 2), (19, 2, 5)):
        p = Moved(net, source=source, steps=steps, batch=batch, seed=units)
        check_slopes(p)
        check_bends(p)


NETS = {attend: network(rn.cells.gru, SCORERS["bahdanau"], attend) for attend in ("before", "after")}


@pytest.mark.parametrize("attend", NETS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_product_is_the_slope_of_the_gradient(attend, reduction):
    """By central differences of order six, of a loss of classes, from states and with coins."""
    p = Moved(NETS[attend])
    given = {**p.task, "loss": "cross_entropy", "reduction": reduction}
    given["state"] = {"decoder.h": np.random.default_rng(2).standard_normal((4, 6))}

    def gradient(a):
        params = p.params.with_flat(p.params.flat + a * p.along.flat)
        return p.net.loss_and_grad(params, p.x, p.target, **given)[1].flat

    h = 1e-3
    near, middle, far = (gradient(k * h) - gradient(-k * h) for k in (1, 2, 3))
    product = p.net.hvp(p.params, p.x, p.target, p.along.flat, **given)[2]
    close("product", product.flat, (45 * near - 9 * middle + far) / (60 * h), 1e-8)


def test_checkpoints_give_the_same_product():
    p = Moved(NETS["before"])
    want = p.net.hvp(p.params, p.x, p.target, p.along, **p.task | {"loss": "cross_entropy"})
    for every in (1, 3, "sqrt"):
        got = p.net.hvp(p.params, p.x, p.target, p.along, checkpoint=every, **p.task | {"loss": "cross_entropy"})
        close("product", got[2].flat, want[2].flat, 1e-12)


def test_a_given_state_moves_along_its_own_direction():
    p, rng = Moved(NETS["before"]), np.random.default_rng(4)
    state = {k: rng.standard_normal((4, *p.net.state_shapes[k])) for k in ("decoder.h", "y", "encoder.backward.h")}
    move = {k: rng.standard_normal(v.shape) for k, v in state.items()}
    _, y_dot, _, final_dot = p.net.jvp(p.params, p.x, dstate=move, state=state, **p.given)
    written, start = p.written, {k: v + 1j * STEP * move[k] for k, v in state.items()}
    written.given = frozenset({"decoder.h"})
    want, want_final = reference.run(p.net, dict(p.params), p.x, lengths=p.lengths, state=start, written=written)
    close("direction", y_dot, want.imag / STEP, 1e-12)
    for path in want_final:
        close(path, final_dot[path], want_final[path].imag / STEP, 1e-12)


def test_what_the_encoder_hands_over_has_no_direction_of_its_own():
    p = Moved(NETS["before"])
    with pytest.raises(rn.InputError, match="the initial state 'decoder.h' is made of what the network reads"):
        p.net.jvp(p.params, p.x, steps=2, dstate={"decoder.h": np.ones((4, 6))})


def test_learned_starts_move_with_the_parameters():
    net = rn.Network(NETS["before"].layer, inputs=3, initial_state="learned")
    p = Moved(net)
    check_slopes(p)
    check_bends(p)


def test_empty_batches_and_no_steps():
    p = Moved(NETS["before"])
    y, y_dot, _, _ = p.net.jvp(p.params, np.zeros((0, 4, 3)), dparams=p.along, steps=3)
    assert y.shape == y_dot.shape == (0, 3, CLASSES)
    y, y_dot, _, final_dot = p.net.jvp(p.params, p.x, dparams=p.along, lengths=p.lengths, steps=0)
    assert y_dot.shape == (4, 0, CLASSES) and final_dot["decoder.h"].any()
    value, grads, product = p.net.hvp(
        p.params, p.x, np.zeros((4, 0), int), p.along, loss="cross_entropy", lengths=p.lengths
    )
    assert value == 0 and not grads.flat.any() and not product.flat.any()
    y, y_dot, _, _ = p.net.jvp(p.params, np.zeros((2, 0, 3)), dparams=p.along, steps=3)
    assert np.isfinite(y_dot).all() and y_dot.any()


def test_arguments_stay_as_they_are():
    p = Moved(NETS["after"])
    arrays = [p.params.flat, p.x, p.lengths, p.target, p.target_lengths, p.along.flat, p.dx]
    before = [a.copy() for a in arrays]
    for a in arrays:
        a.setflags(write=False)
    p.jvp()
    p.net.hvp(p.params, p.x, p.target, p.along, **p.task | {"loss": "cross_entropy"})
    same_bits("arguments", arrays, before)
