"""Memory that the caller and the tape must not share, names that clash, and values refused in one clear error."""

import pickle

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import InputError, LanguageError
from rnncore.lang import cell, tanh


def test_writing_into_what_was_returned_changes_no_gradient():
    net = rn.Network(rn.cells.gru(5), inputs=3, outputs=2, mode="many-to-one")
    params = net.init()
    y, state, tape = net.forward(params, np.ones((2, 4, 3)))
    before = net.backward(params, tape, np.ones_like(y))[2]
    state["h"][:] = 9
    y[:] = 9
    assert net.backward(params, tape, np.ones((2, 2)))[2] == before


def test_output_and_state_are_memory_of_their_own():
    net = rn.Network(rn.cells.vanilla(5), inputs=3, mode="many-to-one")
    y, state = net(net.init(), np.ones((2, 4, 3)))
    assert np.array_equal(y, state["h"]) and not np.shares_memory(y, state["h"])


def test_an_input_that_no_cell_reads_has_gradient_zero():
    @cell
    def blind(w, h):
        return tanh(w.z(h))

    net = rn.Network(blind(4), inputs=3)
    params = net.init()
    y, _, tape = net.forward(params, np.ones((2, 5, 3)))
    dx, _, _ = net.backward(params, tape, np.ones_like(y))
    assert dx.shape == (2, 5, 3) and not dx.any()


def test_a_learned_vector_called_like_a_learned_state_is_refused():
    @cell
    def clash(w, x, h):
        return tanh(w.i(x, h) + w.h0)

    rn.Network(clash(3), inputs=2)
    with pytest.raises(InputError, match="both be called 'h0'"):
        rn.Network(clash(3), inputs=2, initial_state="learned")


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_an_impossible_seed_is_refused(seed):
    net = rn.Network(rn.cells.vanilla(2), inputs=1)
    with pytest.raises(InputError, match="seed must be None or an integer"):
        net.forward(net.init(), np.zeros((1, 1, 1)), seed=seed)


@pytest.mark.parametrize("options", [{"dropout": "a"}, {"dropout": None}, {"residual": "yes"}, {"residual": 1}])
def test_impossible_options_of_a_stack_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        rn.topologies.deep(rn.cells.vanilla(2), **options)


def test_an_empty_batch_with_an_empty_list_of_targets():
    net = rn.Network(rn.cells.vanilla(2), inputs=1, mode="many-to-one")
    value, grads = net.loss_and_grad(net.init(), np.zeros((0, 3, 1)), [], loss="cross_entropy")
    assert value == 0 and not grads.flat.any()


def test_a_cell_that_another_process_cannot_find_is_not_pickled():
    @cell
    def local(w, x, h):
        return tanh(w.i(x, h))

    with pytest.raises(InputError, match="cannot be pickled"):
        pickle.dumps(rn.Network(local(2), inputs=1))
    assert pickle.loads(pickle.dumps(rn.cells.lstm(3))) == rn.cells.lstm(3)


def test_an_unknown_start_is_told_at_its_line():
    @cell
    def started(w, x, h):
        return tanh(w.i(x, h, init="ortogonal"))

    with pytest.raises(LanguageError, match="did you mean|nearest|orthogonal") as caught:
        rn.Network(started(2), inputs=1).init()
    assert caught.value.filename == __file__


def test_nested_options_come_back_from_json(own_registry):
    @cell
    def nested(w, x, h, *, t=((1, 2), 3)):
        return tanh(w.i(x, h)) * t[0][1]

    rn.register(nested)
    net = rn.Network(nested(2, t=((3, 4), 5)), inputs=1)
    assert rn.Network.from_json(net.to_json()) == net


def test_what_is_too_large_for_the_dtype_is_infinite_in_it():
    net = rn.Network(rn.cells.vanilla(2), inputs=1)
    y, _ = net(net.init(), np.full((1, 1, 1), 1e300))
    assert np.isin(np.abs(y), 1).all() or np.isnan(y).any()
