"""Generation: against a loop over steps, against counts, against all sequences there are."""

import ctypes
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore as rn
from rnncore.cpu import pool
from rnncore.cpu.bfloat16 import rounded
from rnncore.cpu.drawing import rowwise
from rnncore.lang.drawing import draw
from rnncore.lang.ops import OPS

cells, topologies, scorers = rn.cells, rn.topologies, rn.scorers
K = 5


def network(layer, k=K, **options):
    return rn.Network(layer, inputs=rn.Tokens(k), outputs=k, **options)


def lively(net, dtype="float64", scale=3.0):
    """Parameters that let outputs differ from step to step."""
    params = net.init(seed=1, dtype=dtype)
    rng = np.random.default_rng(0)
    return params.with_flat((params.flat * scale + rng.normal(size=params.flat.size) * 0.3).astype(dtype))


def log_softmax(o):
    return o - np.log(np.exp(o - o.max(-1, keepdims=True)).sum(-1, keepdims=True)) - o.max(-1, keepdims=True)


CHAINS = {
    "one layer": network(cells.gru(7)),
    "learned start": network(cells.lstm(3), initial_state="learned"),
    "residual stack": network(topologies.deep(cells.gru(4), cells.vanilla(4), residual=True)),
    "feedback inside": network(
        topologies.deep(topologies.feedback(cells.gru(3), cells.vanilla(4), edges=((1, 0),)), cells.gru(2))
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_greedy_tokens_are_those_of_one_step_after_another(name):
    net = CHAINS[name]
    params = lively(net)
    prompts, lengths = np.array([[0, 3, 1], [4, 9, 9], [2, 2, 9]]), [3, 1, 2]
    got = rn.generate(net, params, prompts, lengths=lengths, steps=6)
    for b, n in enumerate(lengths):
        text, total = list(prompts[b, :n]), 0.0
        for _ in range(6):
            o = net(params, np.array([text]))[0][0, -1]
            text.append(int(o.argmax()))
            total += log_softmax(o)[text[-1]]
        assert got.tokens[b].tolist() == text[n:]
        assert got.log_probs[b] == pytest.approx(total, rel=1e-12)
        for path, value in net(params, np.array([text[:-1]]))[1].items():
            np.testing.assert_allclose(got.state[path][b], value[0], rtol=1e-12)
    assert set(got.state) == set(net.state_shapes) and len({tuple(t) for t in got.tokens}) > 1


def test_what_goes_on_from_a_state_is_the_whole():
    net = CHAINS["one layer"]
    params = lively(net)
    whole = rn.generate(net, params, [[0, 1], [3, 3]], steps=7).tokens
    first = rn.generate(net, params, [[0, 1], [3, 3]], steps=3)
    rest = rn.generate(net, params, first.tokens[:, -1:], steps=4, state=first.state)
    assert np.hstack([first.tokens, rest.tokens]).tolist() == whole.tolist()


def translator(**options):
    return rn.Network(
        topologies.encoder_decoder(
            topologies.bidirectional(cells.gru(3)), cells.lstm(4), outputs=K, scorer=scorers.bahdanau, **options
        ),
        inputs=rn.Tokens(6),
    )


SOURCE, SOURCE_LENGTHS = np.array([[1, 5, 0, 2], [3, 3, 9, 9]]), [4, 2]


def test_greedy_tokens_of_a_decoder_are_what_it_writes_by_itself():
    net = translator(attend="after", input_feeding=True)
    params = lively(net)
    o, state = net(params, SOURCE, lengths=SOURCE_LENGTHS, steps=5)
    got = rn.generate(net, params, SOURCE, lengths=SOURCE_LENGTHS, steps=5)
    assert got.tokens.tolist() == o.argmax(-1).tolist()
    np.testing.assert_allclose(got.state["decoder.h"], state["decoder.h"], rtol=1e-12)
    best = np.take_along_axis(log_softmax(o), got.tokens[..., None], -1).sum((1, 2))
    np.testing.assert_allclose(got.log_probs, best, rtol=1e-12)


def test_a_network_that_writes_in_step_with_its_input():
    net = rn.Network(topologies.jordan(cells.gru(4), outputs=K, activation="softmax"), inputs=3)
    params = lively(net)
    x = np.random.default_rng(2).normal(size=(2, 4, 3))
    got = rn.generate(net, params, x, lengths=[4, 2], steps=4, end=K - 1)
    for b, n in enumerate([4, 2]):
        state, tokens = None, []
        for t in range(n):
            o, state = net(params, x[b : b + 1, t : t + 1], state=state)
            tokens.append(int(o[0, 0].argmax()))
            state["y"] = np.eye(K)[tokens[-1:]]
        m = tokens.index(K - 1) + 1 if K - 1 in tokens else n
        assert got.lengths[b] == m and got.tokens[b, :m].tolist() == tokens[:m]


@pytest.mark.parametrize("time", [2, 4])
def test_beams_of_a_network_that_writes_in_step_with_its_input(time):
    net = rn.Network(topologies.jordan(cells.gru(4), outputs=K, activation="softmax"), inputs=3)
    params = lively(net)
    x = np.random.default_rng(2).normal(size=(3, time, 3))
    got = rn.generate(net, params, x, lengths=[time, 0, 1], steps=time, beam=time)
    greedy = rn.generate(net, params, x, lengths=[time, 0, 1], steps=time)
    one = rn.generate(net, params, x, lengths=[time, 0, 1], steps=time, beam=1)
    assert np.array_equal(one.tokens, greedy.tokens) and np.array_equal(one.lengths, greedy.lengths)
    np.testing.assert_allclose(one.log_probs, greedy.log_probs, rtol=1e-12)
    assert (got.log_probs >= greedy.log_probs - 1e-12).all() and got.lengths.tolist() == [time, 0, 1]
    for b, n in ((0, time), (2, 1)):
        alone = rn.generate(net, params, x[b : b + 1, :n], steps=n, beam=time)
        np.testing.assert_allclose(alone.beams.scores[0], got.beams.scores[b], rtol=1e-12)
        assert np.array_equal(alone.beams.tokens[0], got.beams.tokens[b, :, :n])
    assert got.log_probs[1] == 0 and not got.state["h"][1].any()


CUTS = [
    {"temperature": 1.0}, {"temperature": 0.5}, {"temperature": 1.7, "top_k": 3}, {"temperature": 1.0, "top_p": 0.6},
    {"temperature": 2.0, "top_k": 4, "top_p": 0.8}, {"temperature": 1.0, "top_k": 1}, {"temperature": 3.0, "top_k": 99},
]  # fmt: skip


def cut(o, temperature, top_k=None, top_p=1.0):
    """The distribution that is drawn from, token by token."""
    order = sorted(range(len(o)), key=lambda i: (-o[i], i))[:top_k]
    weights = {i: np.exp(o[i] / temperature) for i in order}
    kept, mass = [], 0.0
    for i in order:
        if mass >= top_p * sum(weights.values()):
            break
        kept.append(i)
        mass += weights[i]
    return np.array([weights[i] / mass if i in kept else 0.0 for i in range(len(o))])


@pytest.mark.parametrize("how", CUTS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tokens_are_drawn_as_often_as_they_are_likely(how, dtype):
    net, many = CHAINS["one layer"], 4000
    params = lively(net, dtype)
    o = net(params, [[2]])[0][0, 0].astype(np.float64)
    got = rn.generate(net, params, np.full((many, 1), 2), steps=1, seed=3, **how)
    counts, expected = np.bincount(got.tokens[:, 0], minlength=K), cut(o, **how) * many
    assert (counts[expected == 0] == 0).all()
    some = expected > 0
    chi = ((counts - expected)[some] ** 2 / expected[some]).sum()
    assert chi < 25  # of at most 4 degrees of freedom: 5e-5
    np.testing.assert_allclose(got.log_probs, log_softmax(o)[got.tokens[:, 0]], rtol=1e-5)


@given(
    o=st.lists(st.sampled_from([-np.inf, -2.0, 0.0, 0.25, 1.0, 30.0, 1e4]) | st.floats(-5, 5), min_size=1, max_size=37),
    temperature=st.sampled_from([0.0, 0.01, 0.7, 1.0, 50.0]), k=st.integers(1, 40) | st.just(np.inf),
    p=st.floats(0.01, 1) | st.just(1.0), u=st.floats(0, 1),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_the_library_draws_what_the_table_says(o, temperature, k, p, u):
    o = np.array(o)
    if not np.isfinite(o).any():
        o[0] = 0.0
    how = np.array([temperature, k, p, u])
    out = np.full(40, np.nan)
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 16)(rowwise("float64")["draw"])
    call(o.ctypes.data, how.ctypes.data, out.ctypes.data, len(o), out.nbytes, *[0] * 11)
    want = draw(o, how)
    moved = [draw(o, how * [1, 1, 1 + e, 1] + [0, 0, 0, f]) for e in (-1e-12, 1e-12) for f in (-1e-12, 1e-12)]
    assert any(np.array_equal(out[: len(o)], each) for each in (want, *moved))  # sums may differ in their last bit
    assert not out[len(o) :].any()


def test_what_is_drawn_has_no_derivative():
    assert OPS["draw"].vjp(None, type("", (), {"args": (0, 1)})()) == (None, None)


def test_a_seed_gives_the_same_tokens_for_every_number_of_threads(monkeypatch):
    net = network(cells.gru(64))
    params = lively(net, "float32")
    prompts = np.arange(40)[:, None] % K

    def drawn(threads):
        monkeypatch.setattr(pool, "available_threads", lambda: threads)
        monkeypatch.setattr("rnncore.cpu.run.available_threads", lambda: threads)
        return rn.generate(net, params, prompts, steps=20, temperature=1.0, seed=7)

    one, two = drawn(1), drawn(2)
    assert np.array_equal(one.tokens, two.tokens) and np.array_equal(one.log_probs, two.log_probs)
    other = rn.generate(net, params, prompts, steps=20, temperature=1.0, seed=8)
    assert not np.array_equal(one.tokens, other.tokens)
    alone = rn.generate(net, params, prompts[:1], steps=20, temperature=1.0, seed=7)
    assert np.array_equal(alone.tokens[0], one.tokens[0])


def everything(net, params, prompt, steps, end, penalty):
    """All hypotheses there are, best first: (score, tokens, log-probability)."""
    found = {}
    for text in product(range(net.outputs), repeat=steps):
        text = text[: text.index(end) + 1] if end in text else text
        read = np.array([[*prompt, *text[:-1]]])
        logs = log_softmax(net(params, read)[0][0])[len(prompt) - 1 :]
        found[text] = sum(logs[t, k] for t, k in enumerate(text))
    return sorted(((v / ((5 + len(k)) / 6) ** penalty, k, v) for k, v in found.items()), reverse=True)


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_of_all(penalty):
    net = network(cells.gru(4), 3)
    params = lively(net)
    got = rn.generate(net, params, [[0, 2], [1, 9]], lengths=[2, 1], steps=3, beam=27, end=1, length_penalty=penalty)
    for b, prompt in enumerate([[0, 2], [1]]):
        want = everything(net, params, prompt, 3, 1, penalty)
        n = len(want)
        np.testing.assert_allclose(got.beams.scores[b, :n], [score for score, *_ in want], rtol=1e-12)
        assert np.isneginf(got.beams.log_probs[b, n:]).all()
        for k, (_, text, value) in enumerate(want):
            assert got.beams.tokens[b, k].tolist() == [*text, *[1] * (3 - len(text))]
            assert got.beams.log_probs[b, k] == pytest.approx(value, rel=1e-12)
        read = np.array([[*prompt, *want[0][1][:-1]]])
        np.testing.assert_allclose(got.state["h"][b], net(params, read)[1]["h"][0], rtol=1e-12)


@pytest.mark.parametrize("end", [None, 0, 1])
def test_a_beam_of_one_is_greedy(end):
    for net, x in ((CHAINS["one layer"], [[0, 3], [4, 4]]), (translator(), SOURCE % 6)):
        params = lively(net)
        greedy = rn.generate(net, params, x, steps=6, end=end)
        beam = rn.generate(net, params, x, steps=6, end=end, beam=1)
        assert np.array_equal(greedy.tokens, beam.tokens) and np.array_equal(greedy.lengths, beam.lengths)
        np.testing.assert_allclose(greedy.log_probs, beam.log_probs, rtol=1e-12)


def test_scores_of_a_decoder_are_its_losses():
    net = translator()
    params = lively(net, scale=1.0)
    got = rn.generate(net, params, SOURCE, lengths=SOURCE_LENGTHS, steps=5, end=0, beam=4)
    assert (np.diff(got.beams.scores) <= 0).all() and np.isfinite(got.beams.scores).all()
    for b in range(2):
        for k in range(4):
            n = got.beams.lengths[b, k]
            x, target = SOURCE[b : b + 1], got.beams.tokens[b : b + 1, k, :n]
            given = {"lengths": SOURCE_LENGTHS[b : b + 1], "loss": "cross_entropy", "reduction": "sum"}
            value = net.loss_and_grad(params, x, target, teacher_forcing="always", **given)[0]
            assert -got.beams.log_probs[b, k] == pytest.approx(value, rel=1e-12)
    alone = rn.generate(net, params, SOURCE[1:, :2], steps=5, end=0, beam=4)
    assert np.array_equal(alone.beams.tokens[0], got.beams.tokens[1])


def test_a_wider_beam_than_the_tokens():
    net = network(cells.gru(3), 2)
    got = rn.generate(net, lively(net), [[0]], steps=1, beam=5)
    assert np.isfinite(got.beams.scores).tolist() == [[True, True, False, False, False]]


def test_no_sequences():
    got = rn.generate(CHAINS["one layer"], lively(CHAINS["one layer"]), np.zeros((0, 2), int), steps=3)
    assert got.tokens.shape == (0, 3) and got.log_probs.shape == (0,)


def test_what_is_printed():
    net = CHAINS["one layer"]
    text = repr(rn.generate(net, lively(net), np.arange(12)[:, None] % K, steps=30, beam=2))
    assert "12 sequences, the best of 2" in text and "log-probability" in text and text.count("\n") == 9


WRONG = [
    ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
    ({"steps": 2.5}, "steps must be an integer"),
    ({"beam": 0}, "beam must be an integer of at least 1, got 0"),
    ({"beam": True}, "beam must be"),
    ({"length_penalty": -1}, "length_penalty must be a number at least 0, got -1"),
    ({"temperature": 0, "seed": 1}, "temperature must be a number above 0, got 0"),
    ({"temperature": np.nan, "seed": 1}, "temperature must be"),
    ({"temperature": 1.0}, "draws at each step: give a seed"),
    ({"temperature": 1.0, "seed": 1, "top_p": 0.0}, "top_p must be a number above 0 and at most 1, got 0.0"),
    ({"temperature": 1.0, "seed": 1, "top_p": 1.5}, "top_p must be"),
    ({"temperature": 1.0, "seed": 1, "top_k": 0}, "top_k must be an integer of at least 1, got 0"),
    ({"temperature": 1.0, "seed": -1}, "seed must be an integer of at least 0"),
    ({"temperature": 1.0, "seed": 1, "beam": 2}, "give one of them"),
    ({"top_k": 3}, "give a temperature"),
    ({"end": K}, "end=5 is no token: they lie in 0..4"),
    ({"end": -1}, "end must be"),
    ({"x": [[9]]}, "tokens must lie in 0..4, got 9"),
    ({"lengths": [0]}, "a prompt has at least one token, that of sequence 0 has none"),
]


@pytest.mark.parametrize("given, text", WRONG, ids=lambda v: str(v)[:40])
def test_what_cannot_be(given, text):
    net = CHAINS["one layer"]
    with pytest.raises(rn.InputError) as error:
        rn.generate(net, net.init(), **{"x": [[0]], "steps": 3} | given)
    assert text in str(error.value)


@pytest.mark.parametrize(
    "net",
    [
        rn.Network(cells.gru(3), inputs=K, outputs=K), network(cells.gru(3), mode="many-to-one"),
        rn.Network(cells.gru(3), inputs=rn.Tokens(K), outputs=K + 1), network(topologies.bidirectional(cells.gru(3))),
    ],
    ids=["values", "one output", "other outputs", "both directions"],
)  # fmt: skip
def test_networks_that_cannot_generate(net):
    with pytest.raises(rn.InputError, match="generate needs a network whose output can be what it reads next"):
        rn.generate(net, net.init(), [[0]], steps=3)


def test_steps_of_a_network_that_writes_in_step_with_its_input():
    net = rn.Network(topologies.jordan(cells.gru(4), outputs=K), inputs=3)
    with pytest.raises(rn.InputError, match="writes in step with x, which has 4 steps; got steps=5"):
        rn.generate(net, net.init(), np.zeros((1, 4, 3)), steps=5)


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "top_p": 0.9, "seed": 2}, {"beam": 3, "end": 0}], ids=str)
def test_a_bound_network_writes_what_the_network_writes(how, monkeypatch):
    decoder = translator(attend="after", input_feeding=True)
    writers = (
        (CHAINS["residual stack"], {"x": [[0, 3], [1, 2]], "state": {"0.h": np.full((2, 4), 0.2)}}),
        (decoder, {"x": SOURCE, "lengths": SOURCE_LENGTHS, "reset": np.array([[0, 0, 1, 0], [0, 1, 0, 0]])}),
    )
    for net, read in writers:
        params = lively(net)
        want, run = rn.generate(net, params, steps=5, **read, **how), net.bind(params)
        params.flat[:] = 0  # a snapshot
        first = run.generate(steps=5, **read, **how)
        with monkeypatch.context() as m:
            m.setattr("rnncore.speaker.Voice", None)  # packed once
            found = run.generate(steps=5, **read, **how)
        for got in (first, found):
            np.testing.assert_array_equal(got.tokens, want.tokens)
            np.testing.assert_array_equal(got.log_probs, want.log_probs)
            for path, value in want.state.items():
                np.testing.assert_array_equal(got.state[path], value)


def test_a_bound_network_writes_with_weights_of_half_the_memory():
    net = CHAINS["one layer"]
    params = lively(net, "float32")
    near = params.copy()
    for array in near.values():
        array[:] = rounded(array) if array.ndim == 2 else array
    got = net.bind(params, weights="bfloat16").generate([[0, 1], [3, 3]], steps=9)
    want, exact = (rn.generate(net, p, [[0, 1], [3, 3]], steps=9) for p in (near, params))
    np.testing.assert_array_equal(got.log_probs, want.log_probs)
    assert not np.array_equal(got.log_probs, exact.log_probs)


def test_what_a_bound_network_cannot_write_is_said():
    with pytest.raises(rn.InputError, match="generate needs a network whose output can be what it reads next"):
        mute = rn.Network(cells.gru(3), inputs=2)
        mute.bind(mute.init()).generate(np.ones((1, 2, 2)), steps=3)
    net = CHAINS["one layer"]
    with pytest.raises(rn.InputError, match="end=5 is no token"):
        net.bind(lively(net)).generate([[1]], steps=3, end=K)
