"""Gradient checkpointing: the bits of the whole, in the memory of a stretch, for any stretch."""

import numpy as np
import pytest
import stress
from hypothesis import given
from hypothesis import strategies as st

import rnncore as rn
from rnncore.cpu import memory
from rnncore.errors import InputError
from rnncore.testing import check_checkpoints, close, same_bits

LENGTHS = [23, 0, 7, 14, 1]


def both_passes(net, params, x, dy, dstate, checkpoint, **given):
    y, state, tape = net.forward(params, x, checkpoint=checkpoint, **given)
    return y, state, net.backward(params, tape, dy, dstate=dstate), tape


@given(
    every=st.integers(1, 30) | st.just("sqrt"),
    lengths=st.lists(st.integers(0, 23), min_size=1, max_size=6),
    time=st.integers(23, 25),
    name=st.sampled_from(["simple", "memory"]),
)
def test_any_stretch_and_any_lengths(every, lengths, time, name):
    net = rn.Network(stress.CELLS[name](5), inputs=2, initial_state="learned")
    params, rng = net.init(seed=1, dtype="float64"), np.random.default_rng(0)
    x, dy = rng.standard_normal((len(lengths), time, 2)), rng.standard_normal((len(lengths), time, 5))
    dstate = {s: rng.standard_normal((len(lengths), 5)) for s in net.state_shapes}
    *want, (dx, dstart, grads), _ = both_passes(net, params, x, dy, dstate, None, lengths=lengths)
    *got, (dx2, dstart2, grads2), _ = both_passes(net, params, x, dy, dstate, every, lengths=lengths)
    same_bits("outputs, dx and dstate", [*got, dx2, dstart2], [*want, dx, dstart])
    close("gradients", grads2.flat, grads.flat, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["many-to-many", "many-to-one"])
def test_layers_in_two_directions_and_tokens(mode, dtype):
    block = stress.stacked(stress.both_ways(stress.gated(4)), stress.simple(3), dropout=0.3)
    for inputs in (rn.Tokens(6), 3):
        check_checkpoints(rn.Network(block, inputs=inputs, outputs=2, mode=mode), dtype=dtype)


def test_dropout_is_the_same():
    net = rn.Network(stress.stacked(stress.simple(6), stress.simple(5), dropout=0.5), inputs=2)
    params, x = net.init(seed=1, dtype="float64"), np.random.default_rng(0).standard_normal((3, 11, 2))
    target = np.zeros((3, 11, 5))
    value, grads = net.loss_and_grad(params, x, target, loss=stress.squared, seed=3)
    again, kept = net.loss_and_grad(params, x, target, loss=stress.squared, seed=3, checkpoint=4)
    other, _ = net.loss_and_grad(params, x, target, loss=stress.squared, seed=4, checkpoint=4)
    assert value == again != other
    close("gradients", kept.flat, grads.flat, 1e-12)


def test_states_held_and_set_back_in_the_middle_of_a_stretch():
    net = rn.Network(stress.memory(4), inputs=2, initial_state="learned")
    params, rng = net.init(seed=1, dtype="float64"), np.random.default_rng(0)
    params.flat[...] += 0.1
    x, dy = rng.standard_normal((5, 23, 2)), rng.standard_normal((5, 23, 4))
    given = {"lengths": LENGTHS, "mask": rng.random((5, 23)) < 0.8, "reset": rng.random((5, 23)) < 0.2}
    *want, (dx, dstart, grads), _ = both_passes(net, params, x, dy, None, None, **given)
    for every in (1, 4, "sqrt"):
        *got, (dx2, dstart2, grads2), _ = both_passes(net, params, x, dy, None, every, **given)
        same_bits("outputs, dx and dstate", [*got, dx2, dstart2], [*want, dx, dstart])
        close("gradients", grads2.flat, grads.flat, 1e-12)


def test_slope_of_a_loss_by_central_differences():
    net = rn.Network(stress.memory(4), inputs=2, outputs=2, initial_state="learned")
    params, rng = net.init(seed=1, dtype="float64"), np.random.default_rng(0)
    x, target = rng.standard_normal((5, 23, 2)), rng.standard_normal((5, 23, 2))
    direction, step = rng.standard_normal(params.flat.size), 1e-5

    def loss(at):
        return net.loss(params.with_flat(params.flat + at * direction), x, target, loss=stress.squared, lengths=LENGTHS)

    _, grads = net.loss_and_grad(params, x, target, loss=stress.squared, lengths=LENGTHS, checkpoint="sqrt")
    slope = (loss(step) - loss(-step)) / (2 * step)
    assert grads.flat @ direction == pytest.approx(slope, rel=1e-7)


def test_the_tape_holds_the_states_of_every_kth_step_alone():
    net = rn.Network(stress.memory(16), inputs=2)
    params, x = net.init(), np.zeros((5, 23, 2), "float32")
    _, _, tape = net.forward(params, x, lengths=LENGTHS, checkpoint=7)
    alive = sum(n > t for t in range(0, 23, 7) for n in LENGTHS)
    assert tape.nbytes == 2 * 16 * 4 * (alive - 4)  # the first stretch starts from zeros, which need no memory
    _, _, whole = net.forward(params, x, lengths=LENGTHS)
    assert tape.nbytes < whole.nbytes / 10
    tape.release()
    assert tape.nbytes == 0
    with pytest.raises(InputError, match="released"):
        net.backward(params, tape)


def test_a_training_step_never_holds_more_than_a_stretch(monkeypatch):
    net = rn.Network(stress.memory(64), inputs=8)
    params, x = net.init(), np.zeros((4, 1024, 8), "float32")
    dy, most, buffer = np.zeros((4, 1024, 64), "float32"), {}, memory.Buffer
    for every in (None, "sqrt"):
        now, peak = 0, 0

        class Counted(buffer):
            __slots__ = ()

            def __init__(self, raw, nbytes):
                nonlocal now, peak
                super().__init__(raw, nbytes)
                now += nbytes
                peak = max(peak, now)

            def give_back(self):
                nonlocal now
                now -= self.nbytes if self.raw is not None else 0
                super().give_back()

        monkeypatch.setattr(memory, "Buffer", Counted)
        y, _, tape = net.forward(params, x, checkpoint=every)
        dx, _, _ = net.backward(params, tape, dy)
        most[every] = peak - y.nbytes - dx.nbytes + (tape.nbytes if every else 0)
        tape.release()
        del y, dx, _, tape  # what was given out goes back, too
        assert now == 0
    assert most["sqrt"] < most[None] / 4


def test_the_tape_keeps_its_own_states():
    net = rn.Network(stress.simple(3), inputs=2)
    params, x = net.init(dtype="float64"), np.ones((2, 9, 2))
    state = {"h": np.full((2, 3), 0.5)}
    _, _, tape = net.forward(params, x, state=state, checkpoint=4)
    dy = np.ones((2, 9, 3))
    before = net.backward(params, tape, dy)
    state["h"][:] = -0.9
    same_bits("gradients", net.backward(params, tape, dy), before)


@pytest.mark.parametrize("wrong", [0, -3, 2.0, True, "root", "", [4]])
def test_an_impossible_stretch_is_refused(wrong):
    net = rn.Network(stress.simple(3), inputs=2)
    params, x = net.init(), np.zeros((1, 4, 2))
    with pytest.raises(InputError, match="checkpoint must be None, 'sqrt' or a number of steps of at least 1, got "):
        net.forward(params, x, checkpoint=wrong)
    with pytest.raises(InputError, match="checkpoint"):
        net.loss_and_grad(params, x, np.zeros((1, 4, 3)), loss=stress.squared, checkpoint=wrong)
