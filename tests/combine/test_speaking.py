"""The rewiring for generation: the interpreter agrees, and names stay."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.combine import Wiring
from rnncore.combine.speaking import FORCED, GIVEN, HOW, LOG, STATE, TOKEN, Speaking, _At, speaks
from rnncore.reference.interpreter import Program

cells, topologies = rn.cells, rn.topologies
K = 4


def network(layer):
    return rn.Network(layer, inputs=rn.Tokens(K), outputs=K)


LAYERS = [
    cells.lstm(3),
    topologies.deep(cells.gru(2), topologies.feedback(cells.gru(3), cells.vanilla(2), edges=((0, 0), (1, 0)))),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_parameters_and_states_keep_their_names(layer):
    net = network(layer)
    step = Speaking(net.block, K).step
    assert {p.name for p in step.params} == set(net.shapes)
    assert set(step.states) == {*net.state_shapes, STATE} and not step.sources


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_interpreter_draws_the_same_tokens(layer):
    net = network(layer)
    params = net.init(seed=2, dtype="float64")
    params = params.with_flat(params.flat * 3)
    how = {"temperature": 1.3, "top_k": 3, "top_p": 0.9}
    got = rn.generate(net, params, [[1, 3, 0]], steps=20, seed=5, **how)
    step = Speaking(net.block, K).step
    program = Program(dict(step.roots))
    sizes = {d: d for d in step.size_symbols if isinstance(d, int)}
    sizes |= {p + "units": m.units for p, m in Speaking(net.block, K).members} | {FORCED: 1, GIVEN: 1}
    stream = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(2, 0))).random(20)
    state = {s: np.zeros((1, *net.state_shapes.get(s, (K,)))) for s in step.states}
    state[STATE][0, 1] = 1
    leaves = {("param", n): v for n, v in params.items()} | {("array", n): v for n, v in step.arrays.items()}
    tokens, total = [], 0.0
    for t in range(22):
        u = stream[t - 2] if t > 1 else 0.0
        read = {GIVEN: np.array([[3, 0, 0][min(t, 2)]]), FORCED: np.array([float(t < 2)])}
        read[HOW] = np.array([[1.3, 3, 0.9, u]])
        now = {("input", n): v for n, v in read.items()} | {("state", n): v for n, v in state.items()}
        values = program(leaves | now, sizes)
        state = {s: values[f"next.{s}"] for s in step.states}
        if t > 1:
            tokens.append(int(values[f"out.{TOKEN}"][0]))
            total += float(values[f"out.{LOG}"][0])
    assert got.tokens[0].tolist() == tokens and len(set(tokens)) > 1
    assert got.log_probs[0] == pytest.approx(total, rel=1e-12)


def test_a_chain_speaks_and_what_looks_ahead_does_not():
    assert all(speaks(network(layer).block) for layer in LAYERS)
    assert not speaks(network(topologies.deep(topologies.bidirectional(cells.gru(2)), cells.gru(2))).block)


def test_an_author_finds_every_method_that_a_wiring_has():
    own = {"final_names", "output_state", "parameter"}  # those that resolve names afterwards
    methods = {n for n, v in vars(Wiring).items() if callable(v) and n[0] != "_"} - own
    assert methods <= set(vars(_At))
