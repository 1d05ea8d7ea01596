"""Gradient checkpointing where a step sees other sequences whole."""

import numpy as np

import rnncore as rn
from rnncore.testing import close, same_bits


def test_an_attending_decoder_in_stretches():
    """The encoder, the keys and the decoder are cut, each by itself; the gradient reaches the encoder through all."""
    layers = rn.topologies.bidirectional(rn.cells.gru(4)), rn.cells.gru(5)
    block = rn.topologies.encoder_decoder(*layers, outputs=6, scorer=rn.scorers.bahdanau)
    net, rng = rn.Network(block, inputs=rn.Tokens(7)), np.random.default_rng(0)
    params, x = net.init(seed=1, dtype="float64"), rng.integers(0, 7, (3, 11))
    given = {
        "lengths": [11, 5, 2], "target": rng.integers(0, 6, (3, 9)), "target_lengths": [9, 0, 4],
        "teacher_forcing": 0.5, "seed": 3,
    }  # fmt: skip
    y, state, whole = net.forward(params, x, **given)
    dy = rng.standard_normal(y.shape)
    _, dstate, grads = net.backward(params, whole, dy)
    for every in (1, 4, "sqrt"):
        y2, state2, tape = net.forward(params, x, checkpoint=every, **given)
        first, again = (net.backward(params, tape, dy) for _ in range(2))
        same_bits("outputs and states", (y2, state2, first[1]), (y, state, dstate))
        same_bits("the second backward", again, first)
        close("gradients", first[2].flat, grads.flat, 1e-12)
        assert tape.nbytes < whole.nbytes / 5
