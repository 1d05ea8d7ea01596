"""Every cell as a decoder with every scorer: against the reference, the complex step, padding, threads."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writers import CELLS, CLASSES, INPUTS, SCORERS, VARIANTS, Problem, combined, network

import rnncore as rn
from rnncore import reference
from rnncore.testing import close, same_bits

BOUNDS = {"float32": (1e-5, 1e-4), "float64": (1e-12, 1e-10)}


def check_against_reference(problem):
    p, net = problem, problem.net
    forward, back = BOUNDS[str(p.params.dtype)]
    exact, x = dict(p.params.astype("float64")), p.x.astype("float64")
    want, want_final = reference.run(net, exact, x, lengths=p.lengths, written=p.written)
    rdx, rdstate, rgrads = reference.gradients(
        net, exact, x, p.dy.astype(float), lengths=p.lengths, dstate=p.dstate, written=p.written
    )
    y, final, (dx, dstate, grads) = p.back()
    close("output", y, want, forward)
    for path in want_final:
        close(f"final {path}", final[path], want_final[path], forward)
    for path in rdstate:
        close(f"gradient of the initial {path}", dstate[path], rdstate[path], back)
    for path in rgrads:
        close(f"gradient of {path}", grads[path], rgrads[path], back)
    close("gradient of x", dx, rdx["x"], back)


every_cell = pytest.mark.parametrize("cell", CELLS)
every_scorer = pytest.mark.parametrize("scorer", SCORERS)


@every_scorer
@every_cell
def test_every_cell_with_every_scorer_agrees_with_the_reference(cell, scorer):
    check_against_reference(Problem(combined(cell, scorer)))


@pytest.mark.parametrize("cell", VARIANTS)
def test_every_form_of_a_cell_agrees_with_the_reference(cell):
    check_against_reference(Problem(network(VARIANTS[cell], SCORERS["bahdanau"])))


@pytest.mark.parametrize("forcing", ["always", "never", 0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_way_of_forcing_agrees_with_the_reference(forcing, dtype):
    p = Problem(network(rn.cells.gru, SCORERS["bahdanau"]), dtype=dtype, forcing=forcing)
    check_against_reference(p)
    same_bits("inference", p.net(p.params, p.x, **p.given), p.net.forward(p.params, p.x, **p.given)[:2])


@pytest.mark.parametrize("bridge", ["affine", "copy", "zero"])
@pytest.mark.parametrize("encoder", ["layer", "deep", "bidirectional", "both"])
def test_every_encoder_and_bridge_agrees_with_the_reference(encoder, bridge):
    g, t = rn.cells.gru, rn.topologies
    made = {"layer": g(6), "deep": t.deep(g(4), g(6)), "bidirectional": t.bidirectional(g(3)),
            "both": t.deep(t.bidirectional(g(2)), t.bidirectional(g(3)))}[encoder]  # fmt: skip
    check_against_reference(Problem(network(g, SCORERS["bahdanau"], encoder=made, bridge=bridge)))


def deep_decoder(attend, bridge="affine", encoder=None):
    g, t = rn.cells.gru, rn.topologies
    encoder = encoder or t.deep(t.bidirectional(g(3)), g(6))
    return network(lambda n: t.deep(g(n), g(n)), SCORERS["general"], attend, encoder=encoder, bridge=bridge)


@pytest.mark.parametrize("bridge", ["affine", "copy", "zero"])
@pytest.mark.parametrize("attend", ["before", "after"])
def test_a_decoder_of_several_layers(attend, bridge):
    net = deep_decoder(attend, bridge)
    p = Problem(net)
    check_against_reference(p)
    free, final = net(p.params, p.x, lengths=p.lengths, steps=5)
    stream = net.stream(p.params, x=p.x, lengths=p.lengths)
    same_bits("stream", np.stack([stream.step() for _ in range(5)], 1), free)
    assert {"decoder.0.h", "decoder.1.h", "decoder.0.W_xz", "decoder.1.W_xz"} <= {*net.state_shapes, *net.shapes}
    again = rn.Network.from_json(net.to_json())
    assert again == net
    rn.generate(net, p.params, p.x, lengths=p.lengths, steps=4, beam=2)


def test_layers_start_from_the_layers_of_the_encoder_where_there_are_as_many():
    handed = {path: [p for p, _ in found] for path, _, found in deep_decoder("after").block.handed("", {"x": 3})}
    assert handed["decoder.0.h"] == ["encoder.0.forward.h", "encoder.0.backward.h"]
    assert handed["decoder.1.h"] == ["encoder.1.h"]
    single = deep_decoder("after", encoder=rn.cells.gru(6)).block.handed("", {"x": 3})
    assert [[p for p, _ in found] for _, _, found in single] == [["encoder.h"], ["encoder.h"]]


@pytest.mark.parametrize("scorer", ["bahdanau", "concat", "general"])
@pytest.mark.parametrize("units", [1, 2, 16, 17])
def test_sizes_that_fill_vectors_and_that_do_not(units, scorer):
    net = network(rn.cells.gru, SCORERS[scorer], units=units, encoder=rn.cells.gru(units))
    for source, steps, batch in ((1, 1, 1), (3, 13, 2), (19, 2, 5)):
        check_against_reference(Problem(net, source=source, steps=steps, batch=batch, seed=units))


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("attend", ["before", "after"])
@pytest.mark.parametrize("cell", [*CELLS, *VARIANTS])
def test_the_reference_agrees_with_the_complex_step(cell, scorer, attend):
    net = network({**CELLS, **VARIANTS}[cell], SCORERS[scorer], attend)
    p = Problem(net, batch=3, source=4, steps=3)
    p.dstate = {k: 0 * v for k, v in p.dstate.items()}
    dx, _, grads = reference.gradients(net, dict(p.params), p.x, p.dy, lengths=p.lengths, written=p.written)
    inside = np.arange(3)[None, :, None] < p.target_lengths[:, None, None]
    rng = np.random.default_rng(1)
    for name, gradient in [*grads.items(), ("x", dx["x"])]:
        direction = rng.standard_normal(gradient.shape)
        params, x = dict(p.params), p.x
        if name == "x":
            x = x + 1e-30j * direction
        else:
            params[name] = params[name] + 1e-30j * direction
        y, _ = reference.run(net, params, x, lengths=p.lengths, written=p.written)
        slope = (y * np.where(inside, p.dy, 0)).sum().imag / 1e-30
        terms = gradient * direction
        assert abs(slope - terms.sum()) <= 1e-9 * np.abs(terms).sum(), name


NETS = {attend: network(rn.cells.gru, SCORERS["bahdanau"], attend) for attend in ("before", "after")}
PRIMES = st.sampled_from([1, 2, 3, 5, 7, 11, 13])


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(NETS)), PRIMES, PRIMES, st.integers(1, 5), st.integers(0, 99), st.integers(1, 5))
def test_padding_changes_nothing(attend, source, steps, batch, seed, more):
    check_padding(NETS[attend], source, steps, batch, seed, more)


@every_scorer
@every_cell
def test_padding_changes_nothing_with_any_cell_and_scorer(cell, scorer):
    check_padding(combined(cell, scorer), source=7, steps=5, batch=4, seed=1, more=2, attends=scorer != "none")


def check_padding(net, source, steps, batch, seed, more, attends=True):
    """More padding, NaN in it, classes that are none: the same bits; weights sum to 1 inside and are 0 outside."""
    p = Problem(net, seed=seed, batch=batch, source=source, steps=steps, forcing="always")
    y, final, (dx, _, grads) = p.back()
    if attends:
        check_weights(p, net.attention(p.params, p.x, **p.given)[1])
    past = np.arange(source)[None, :, None] >= p.lengths[:, None, None]
    q = Problem(net, seed=seed, batch=batch, source=source, steps=steps, forcing="always")
    q.x = np.concatenate([np.where(past, np.nan, q.x), np.full((batch, more, INPUTS), np.nan)], 1)
    q.target = q.given["target"] = np.pad(q.target, ((0, 0), (0, more)))
    q.dy = np.pad(q.dy, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
    wide_y, wide_final, (wide_dx, _, wide_grads) = q.back()
    same_bits("output", wide_y[:, :steps], y)
    same_bits("final", wide_final, final)
    same_bits("gradient of x", wide_dx[:, :source], dx)
    same_bits("gradients", wide_grads, grads)
    assert not wide_y[:, steps:].any() and not wide_dx[:, source:].any()


def check_weights(p, alpha):
    """They sum to 1 within the lengths, and are 0 beyond."""
    batch, steps, source = alpha.shape
    counts = p.lengths[:, None, None] * np.ones((batch, steps, 1), int)
    inside = (np.arange(source) < counts) & (np.arange(steps)[:, None] < p.target_lengths[:, None, None])
    assert not alpha[~inside].any()
    assert alpha.sum(2)[inside.any(2)] == pytest.approx(1, abs=1e-12)


def test_the_same_bits_for_every_number_of_threads(monkeypatch):
    net = network(rn.cells.gru, SCORERS["bahdanau"], units=32)
    p = Problem(net, dtype="float32", batch=19, source=31, steps=29)
    results = []
    for threads in ("1", "2", "3", "2"):
        monkeypatch.setitem(os.environ, "RNNCORE_NUM_THREADS", threads)
        results.append((net(p.params, p.x, **p.given), p.back()))
    for other in results[1:]:
        same_bits("threads", other, results[0])


def test_a_sequence_alone_gives_what_it_gives_in_a_batch():
    p = Problem(NETS["before"])
    y, final = p.net(p.params, p.x, **p.given | {"teacher_forcing": "always"})
    for b, (n, m) in enumerate(zip(p.lengths, p.target_lengths)):
        alone, end = p.net(p.params, p.x[b : b + 1, :n], target=p.target[b : b + 1, :m])
        close(f"sequence {b}", alone[0], y[b, :m], 1e-12)
        for path in final:
            close(f"final {path} of sequence {b}", end[path][0], final[path][b], 1e-12)


@every_scorer
@every_cell
def test_tapes_serve_twice_and_arguments_stay_as_they_are(cell, scorer):
    p = Problem(combined(cell, scorer))
    arrays = [p.params.flat, p.x, p.lengths, p.target, p.target_lengths, p.dy]
    before = [a.copy() for a in arrays]
    for a in arrays:
        a.setflags(write=False)
    _, _, tape = p.net.forward(p.params, p.x, **p.given)
    first = p.net.backward(p.params, tape, p.dy, dstate=p.dstate)
    same_bits("the second backward", p.net.backward(p.params, tape, p.dy, dstate=p.dstate), first)
    same_bits("arguments", arrays, before)


def test_lists_of_sources_and_targets_are_arrays_of_them():
    p = Problem(NETS["before"], forcing="always")
    value, grads = p.net.loss_and_grad(p.params, p.x, p.target, loss="cross_entropy", lengths=p.lengths,
                                       target_lengths=p.target_lengths)  # fmt: skip
    x = [v[:n] for v, n in zip(p.x, p.lengths)]
    target = [v[:n] for v, n in zip(p.target, p.target_lengths)]
    listed, again = p.net.loss_and_grad(p.params, x, target, loss="cross_entropy")
    assert listed == pytest.approx(value, rel=1e-13)
    close("gradient", again.flat, grads.flat, 1e-12)
    rows = [(b, t) for b in range(4) for t in range(p.target_lengths[b])]
    y, _ = p.net(p.params, p.x, **p.given)
    picked = [np.log(np.exp(y[b, t]).sum()) - y[b, t, p.target[b, t]] for b, t in rows]
    assert value == pytest.approx(np.mean(picked), rel=1e-12)


def test_checkpoints_give_the_same():
    p = Problem(NETS["before"])
    y, final, (dx, dstate, grads) = p.back()
    for every in (1, 3, "sqrt"):
        kept, kept_final, tape = p.net.forward(p.params, p.x, checkpoint=every, **p.given)
        again = p.net.backward(p.params, tape, p.dy, dstate=p.dstate)
        same_bits("checkpointed", (kept, kept_final, again[0], again[1]), (y, final, dx, dstate))
        close("gradients", again[2].flat, grads.flat, 1e-12)


def test_what_is_handed_over_has_no_learned_start():
    net = rn.Network(NETS["before"].layer, inputs=INPUTS, initial_state="learned")
    assert "y0" in net.shapes and "encoder.forward.h0" in net.shapes and "decoder.h0" not in net.shapes
    p = Problem(net)
    e, base = 1e-6, p.params.copy()
    _, _, (_, _, grads) = p.back()
    direction = np.zeros_like(base["y0"])
    direction[:] = 1
    inside = np.arange(5)[None, :, None] < p.target_lengths[:, None, None]
    sums = []
    for sign in (1, -1):
        p.params = base.copy()
        p.params["y0"][:] += sign * e * direction
        y, final = net(p.params, p.x, **p.given)
        sums.append((y * np.where(inside, p.dy, 0)).sum() + sum((final[k] * p.dstate[k]).sum() for k in final))
    assert (sums[0] - sums[1]) / (2 * e) == pytest.approx(grads["y0"].sum(), rel=1e-6)


def test_empty_batches_and_no_steps():
    net, p = NETS["before"], Problem(NETS["before"])
    assert net(p.params, np.zeros((0, 4, INPUTS)), steps=3)[0].shape == (0, 3, CLASSES)
    assert net(p.params, p.x, steps=0)[0].shape == (4, 0, CLASSES)
    y, _ = net(p.params, np.zeros((2, 0, INPUTS)), steps=3)
    assert y.shape == (2, 3, CLASSES) and np.isfinite(y).all()


def test_a_bound_network_writes_what_a_call_writes():
    p = Problem(NETS["before"])
    run = p.net.bind(p.params)
    want = p.net(p.params, p.x, lengths=p.lengths, steps=4)
    same_bits("bound", run(p.x, lengths=p.lengths, steps=4), want)
    same_bits("taught", run(p.x, **p.given), p.net(p.params, p.x, **p.given))


@every_scorer
@every_cell
def test_a_stream_writes_what_a_call_writes(cell, scorer):
    """Running free, and reading the true outputs; and two halves, the states handed on, are the whole."""
    net = combined(cell, scorer)
    p, attends = Problem(net), scorer != "none"
    free, final = net(p.params, p.x, lengths=p.lengths, steps=5)
    stream = net.stream(p.params, x=p.x, lengths=p.lengths)
    same_bits("stream", np.stack([stream.step() for _ in range(5)], 1), free)
    for path, value in stream.state.items():
        same_bits(f"state {path}", value, final[path])
    taught = net(p.params, p.x, lengths=p.lengths, target=p.target)[0]
    alpha = net.attention(p.params, p.x, lengths=p.lengths, target=p.target)[1] if attends else None
    stream = net.stream(p.params, x=p.x, lengths=p.lengths)
    assert stream.alpha is None
    for t in range(5):
        o = stream.step() if t == 0 else stream.step(p.target[:, t - 1])
        same_bits(f"step {t}", o, taught[:, t])
        if attends:
            same_bits(f"alpha {t}", stream.alpha, alpha[:, t])
    first, middle = net(p.params, p.x, lengths=p.lengths, steps=2)
    start = {k: v for k, v in middle.items() if not k.startswith("encoder.")}
    second, _ = net(p.params, p.x, lengths=p.lengths, steps=3, state=start)
    same_bits("two halves", np.concatenate([first, second], 1), free)


def test_descriptions_come_back():
    import pickle

    for scorer in SCORERS.values():
        net = network(rn.cells.lstm, scorer, "after", bridge="copy", encoder=rn.cells.lstm(6))
        for again in (rn.Network.from_json(net.to_json()), pickle.loads(pickle.dumps(net))):
            assert again == net and hash(again) == hash(net) and repr(again) == repr(net)


WRONG = {
    "no steps": ({}, "steps"),
    "negative steps": ({"steps": -1}, "steps=-1"),
    "steps and a target": ({"steps": 3, "target": np.zeros((4, 3), int)}, "steps"),
    "target longer than allowed": ({"target": np.zeros((4, 3), int), "target_lengths": [4, 1, 1, 1]}, "0..3"),
    "another batch": ({"target": np.zeros((3, 3), int)}, "4"),
    "a class that is none": ({"target": np.full((4, 3), CLASSES)}, "0..4"),
    "a mask of the target": ({"steps": 2, "mask": np.ones((4, 2), bool)}, "mask must have shape"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_is_refused_before_anything_runs(wrong):
    p = Problem(NETS["before"])
    arguments, words = WRONG[wrong]
    with pytest.raises(rn.errors.InputError, match=words):
        p.net(p.params, p.x, **arguments)


def test_combinations_that_cannot_be_are_refused():
    t, c = rn.topologies, rn.cells
    for make, words in (
        (lambda: t.encoder_decoder(c.gru(4), c.gru(4)), "outputs"),
        (lambda: t.encoder_decoder(c.gru(4), c.gru(4), outputs=3, attend="during"), "before"),
        (lambda: t.encoder_decoder(c.gru(4), c.gru(4), outputs=3, bridge="rope"), "affine"),
        (lambda: t.encoder_decoder(c.gru(4), c.gru(4), outputs=3, input_feeding=True), "scorer"),
        (lambda: t.encoder_decoder(c.gru(4), c.gru(4), outputs=3, feedback="echo"), "argmax"),
        (lambda: t.encoder_decoder(c.gru(4), t.bidirectional(c.gru(4)), outputs=3), "a decoder is a cell"),
        (lambda: t.encoder_decoder(c.gru(4), t.deep(c.gru(4), c.gru(4), residual=True), outputs=3), "without dropout"),
        (lambda: t.encoder_decoder(c.gru(4), t.deep(c.gru(4), c.gru(4), dropout=0.1), outputs=3), "without dropout"),
        (lambda: t.encoder_decoder(c.gru(4), c.gru(4), outputs=3, scorer="bahdanau"), "scorer"),
        (lambda: rn.Network(t.encoder_decoder(c.gru(4), c.gru(4), outputs=3), inputs=2, outputs=3), "outputs"),
        (lambda: network(c.gru, rn.scorers.dot, units=6, encoder=c.gru(4)), "equal"),
        (lambda: rn.Network(t.encoder_decoder(c.gru(4), c.gru(6), outputs=3, bridge="copy"), inputs=2), "affine"),
    ):  # fmt: skip
        with pytest.raises(rn.errors.RnncoreError, match=words):
            make()
    net = NETS["before"]
    p = Problem(net)
    for make, words in (
        (lambda: rn.Network(net.layer, inputs=3, mode="many-to-one"), "many-to-many"),
        (lambda: rn.Network(t.deep(net.layer, c.gru(3)), inputs=3), "deep"),
        (lambda: rn.Network(t.bidirectional(net.layer), inputs=3), "bidirectional"),
        (lambda: net.stream(p.params), "x is missing"),
        (lambda: net.stream(p.params, x=p.x).step([CLASSES] * 4), "0..4"),
        (lambda: net.stream(p.params, x=p.x).step([1]), "shape"),
        (lambda: net.jvp(p.params, p.x, steps=2, dstate={"decoder.h": np.ones((4, 6))}), "made of what the network"),
    ):
        with pytest.raises(rn.errors.InputError, match=words):
            make()
    plain = rn.Network(c.gru(4), inputs=2)
    with pytest.raises(rn.errors.InputError, match="target_lengths"):
        plain(plain.init(), np.zeros((1, 3, 2)), target_lengths=[2])
    with pytest.raises(rn.errors.InputError, match="attend"):
        plain.attention(plain.init(), np.zeros((1, 3, 2)))
