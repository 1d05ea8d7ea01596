"""Truncated BPTT and streams: the state goes on from chunk to chunk, the gradient does not."""

import shutil

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError
from rnncore.lang import schedule
from rnncore.train import Dataset, Trainer, evaluate
from rnncore.train.chunks import chunks_of, stream_batches
from rnncore.train.run import Run

LENGTHS = [11, 4, 0, 9, 7, 11, 1]


@schedule
def noted(t, total):
    """Remembers what it was asked, and falls to 0."""
    asked.append((t, total))
    return 1 - t / total


asked: list = []


def data(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    x, y = ([rng.standard_normal((n, k)) for n in lengths] for k in (2, 1))
    return Dataset(x, y, per_step=True)


def network(layer=None, **options):
    return rn.Network(layer or stress.memory(4), inputs=2, outputs=1, **options)


def trainer(net=None, **options):
    given = {"optimizer": "sgd", "learning_rate": 0.1, "epochs": 2, "batch_size": 3, "dtype": "float64"} | options
    return Trainer(net or network(), loss=stress.squared, progress=False, **given)


def numbers(history):
    return [{k: v for k, v in record.items() if "second" not in k} for record in history]


def test_chunks_in_order():
    found = chunks_of([np.array([0, 1]), np.array([2])], np.array([5, 7, 0]), 3, False)
    assert [(c.indices.tolist(), c.start, c.stop, c.fresh, c.last) for c in found] == [
        ([0, 1], 0, 3, True, False), ([0, 1], 3, 6, False, False), ([0, 1], 6, 9, False, True), ([2], 0, 3, True, True),
    ]  # fmt: skip
    found = chunks_of([np.array([0]), np.array([1])], np.array([4, 3]), None, True)
    assert [(c.start, c.stop, c.fresh, c.last) for c in found] == [(0, None, True, True), (0, None, False, True)]


def test_steps_of_a_dataset():
    whole = data([5, 2, 0])
    x, y, lengths = whole.batch(np.arange(3), 1, 4)
    assert lengths.tolist() == [3, 1, 0] and x.shape == (3, 3, 2) and y.shape == (3, 3, 1)
    full, target, _ = whole.batch(np.arange(3))
    np.testing.assert_array_equal(x[0], full[0, 1:4])
    np.testing.assert_array_equal(y[1, :1], target[1, 1:2])
    assert whole.batch(np.arange(3), 5)[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("truncate", [11, 100])
def test_one_chunk_is_the_whole(truncate):
    whole, cut = (trainer(truncate=k, optimizer="adam").fit(data()) for k in (None, truncate))
    assert whole.params == cut.params and whole.updates == cut.updates
    assert numbers(whole.history) == numbers(cut.history)


def chunk_by_chunk(net, params, x, y, lengths, truncate, state, rate=0.1):
    """An epoch of plain gradient descent on one batch, through the public face; the state that it leaves."""
    losses = []
    for start in range(0, int(max(lengths)), truncate):
        inside = slice(start, start + truncate)
        given = {"lengths": np.clip(lengths - start, 0, truncate), "state": state}
        part, target = x[:, inside], y[:, inside]
        given["lengths"] = np.minimum(given["lengths"], part.shape[1])
        value, grads = net.loss_and_grad(params, part, target, loss=stress.squared, **given)
        if start:
            assert not grads["h0"].any() and not grads["c0"].any()
        state = net(params, part, **given)[1]
        params.flat[...] -= rate * grads.flat
        losses.append((value, given["lengths"].sum()))
    return state, losses


def test_the_state_is_carried_and_the_gradient_is_not():
    net, sequences = network(initial_state="learned"), data()
    params = net.init(seed=0, dtype="float64")
    params.flat[...] += 0.1
    start = params["h0"].copy()
    result = trainer(net, truncate=4, batch_size=7, epochs=1).fit(sequences, params=params)
    rng = np.random.default_rng([0, 1])
    order = np.arange(7)[rng.permutation(7)]
    order = order[np.argsort(sequences.lengths[order], kind="stable")]
    x, y, lengths = sequences.batch(order)
    state, losses = chunk_by_chunk(net, params, x, y, lengths, 4, None)
    np.testing.assert_allclose(result.params.flat, params.flat, rtol=1e-12)
    assert result.updates == 3
    weights = [w for _, w in losses]
    assert weights[-1] < weights[0]
    assert result.history[0]["loss"] == pytest.approx(np.average([v for v, _ in losses], weights=weights), rel=1e-12)
    ended = int(np.flatnonzero(lengths == 4)[0])
    assert np.array_equal(state["h"][lengths == 0], start[None])  # no step of it: it keeps what it started from
    short = net(params, x[ended : ended + 1, :4])[1]  # later updates do not reach the state of what has ended
    assert not np.allclose(short["h"], state["h"][ended])


def test_streams_go_on_from_batch_to_batch():
    net = network(initial_state="learned")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 12, 2)), rng.standard_normal((3, 12, 1))
    pieces, targets = (v.reshape(3, 3, 4, -1).swapaxes(0, 1).reshape(9, 4, -1) for v in (x, y))
    result = trainer(net, stateful=True, epochs=2).fit((pieces, targets), (pieces, targets))
    params = net.init(seed=0, dtype="float64")
    for _ in range(2):  # each epoch starts anew
        chunk_by_chunk(net, params, x, y, np.full(3, 12), 4, None)
    np.testing.assert_allclose(result.params.flat, params.flat, rtol=1e-12)
    whole = net.loss(params, x, y, loss=stress.squared)
    assert result.history[-1]["val_loss"] == pytest.approx(whole, rel=1e-12)
    finer = trainer(net, stateful=True, truncate=2).fit((pieces, targets))
    same = trainer(net, truncate=2, bucket=1).fit((x, y))  # one batch, whose rows are the streams, in any order
    np.testing.assert_allclose(finer.params.flat, same.params.flat, rtol=1e-12)


def test_evaluation_of_streams_carries_the_state():
    net, rng = network(), np.random.default_rng(0)
    params = net.init(dtype="float64")
    x, y = rng.standard_normal((2, 9, 2)), rng.standard_normal((2, 9, 1))
    pieces = Dataset(*(v.reshape(2, 3, 3, -1).swapaxes(0, 1).reshape(6, 3, -1) for v in (x, y)), per_step=True)
    found = evaluate(net, params, pieces, loss=stress.squared, batch_size=2, stateful=True)
    assert found["loss"] == pytest.approx(net.loss(params, x, y, loss=stress.squared), rel=1e-12)
    assert found["loss"] != pytest.approx(evaluate(net, params, pieces, loss=stress.squared)["loss"], rel=1e-6)


@pytest.mark.parametrize("options", [{"truncate": 4}, {"truncate": 3, "stateful": True}, {"stateful": True}])
def test_a_run_broken_after_any_update_ends_on_the_same_bits(tmp_path, monkeypatch, options):
    layer = stress.stacked(stress.memory(4), stress.simple(3), dropout=0.3)
    net, sequences = network(layer, initial_state="learned"), data([*LENGTHS, 5, 3])
    path, copies = tmp_path / "checkpoint", []
    given = {"optimizer": "adam", "schedule": noted, "checkpoint": path, "checkpoint_updates": 1, **options}
    save = Run.save

    def copied(run):
        save(run)
        copies.append(shutil.copy(path, tmp_path / str(len(copies))))

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", copied)
        whole = trainer(net, **given).fit(sequences)
    assert len(copies) == whole.updates + 2
    for copy in copies:
        shutil.copy(copy, path)
        again = trainer(net, **given).fit(sequences, resume=True)
        assert again.params == whole.params and numbers(again.history) == numbers(whole.history)


def test_a_checkpoint_of_another_cut_is_refused(tmp_path):
    trainer(checkpoint=tmp_path / "c", truncate=4).fit(data())
    with pytest.raises(rn.errors.FileError, match="truncate was 4, now it is 5"):
        trainer(checkpoint=tmp_path / "c", truncate=5).fit(data(), resume=True)


def test_a_schedule_knows_the_number_of_chunks():
    asked.clear()
    result = trainer(truncate=4, schedule=noted, epochs=3, batch_size=2).fit(data())
    updates = sorted(set(asked))
    assert updates[-1] == (result.updates - 1, result.updates)
    assert 3 * 4 < result.updates < 3 * 4 * 3


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_less_memory_gives_the_same(optimizer):
    whole, kept = (trainer(gradient_checkpoint=k, optimizer=optimizer).fit(data()) for k in (None, "sqrt"))
    np.testing.assert_allclose(kept.params.flat, whole.params.flat, rtol=1e-9)
    both = trainer(gradient_checkpoint=2, truncate=4, optimizer="sgd").fit(data())
    np.testing.assert_allclose(both.params.flat, trainer(truncate=4).fit(data()).params.flat, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"truncate": 0}, "truncate: expected a whole number of at least 1, got 0"),
        ({"stateful": 1}, "stateful: expected True or False, got 1"),
        ({"gradient_checkpoint": 0}, "checkpoint must be None, 'sqrt' or a number of steps"),
        ({"truncate": 3, "optimizer": "lbfgs"}, "truncate has no meaning with L-BFGS"),
        ({"stateful": True, "optimizer": "lbfgs"}, "stateful has no meaning with L-BFGS"),
        ({"truncate": 3, "net": network(mode="many-to-one")}, "truncate=3 needs an output at every step"),
        ({"stateful": True, "net": network(stress.both_ways(stress.simple(3)))}, "stateful=True: .* reads backward"),
    ],
)
def test_what_cannot_be_is_refused(options, text):
    with pytest.raises(InputError, match=text):
        trainer(**options)


def test_streams_fill_their_batches():
    with pytest.raises(InputError, match="7 sequences cannot be batches of 3"):
        trainer(stateful=True).fit(data())
    with pytest.raises(InputError, match="4 sequences cannot be batches of 3"):
        trainer(stateful=True).fit(data([3] * 6), data([3] * 4))
    assert [b.tolist() for b in stream_batches(4, 2)] == [[0, 1], [2, 3]]
