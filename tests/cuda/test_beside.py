"""Blocks that run at once, each on a stream and a share of the device: as one after another, and all in order."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import testing
from rnncore.cuda import accesses, beside, launch, space, target
from rnncore.cuda.accesses import StreamRace
from rnncore.cuda.launch import shape_of
from rnncore.cuda.weights import code_of
from rnncore.layout import layout_of
from rnncore.rounding import EXACT

pytestmark = pytest.mark.skipif(target.missing() is not None, reason="needs a GPU or the simulator")
watching = pytest.mark.skipif(not target.simulated, reason="streams are watched in the simulator")
H200 = target.Properties("H200", (9, 0), 132, 232448, 1024, 139 << 30)


@contextmanager
def one_after_another(many):
    """Each on its share, as if at once: what takes place at once gives the same bits."""

    @contextmanager
    def branch():
        with launch.of_a_share(many):
            yield

    yield branch


def merged(merge):
    return rn.topologies.bidirectional(stress.gated(3), merge=merge)


NETS = {
    "both ways": (stress.both_ways(stress.gated(3)), {}),
    "sum": (merged("sum"), {}),
    "mean, last step": (merged("mean"), {"mode": "many-to-one"}),
    "last step": (stress.both_ways(stress.gated(3)), {"mode": "many-to-one", "initial_state": "learned"}),
    "deep": (rn.topologies.deep(stress.both_ways(stress.gated(3)), stress.both_ways(stress.memory(2)),
                                dropout=0.2), {}),
    "within": (rn.topologies.bidirectional(rn.topologies.bidirectional(stress.memory(2))), {}),
}  # fmt: skip


def _layout():
    return layout_of(np.full(2, 3), True)


def run(net, params, e, **given):
    y, final, tape = net.forward(params, e.x, **e.given, seed=3, **given)
    return y, final, net.backward(params, tape, e.dy, dstate=e.dstate)


def arrays(found):
    y, final, (dx, dstate, grads) = found
    return [y, dx, grads.to("cpu").flat, *final.values(), *dstate.values()]


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(beside, "worthwhile", lambda *_: True)


@pytest.mark.parametrize("given", [{}, {"checkpoint": 2}], ids=["whole", "checkpoint"])
@pytest.mark.parametrize("name", NETS)
def test_at_once_is_as_one_after_another_bit_for_bit(name, given, at_once, monkeypatch):
    block, how = NETS[name]
    net = rn.Network(block, inputs=2, outputs=2, **how)
    e = testing.example(net, batch=3, time=4)
    params = e.params.to("cuda")
    with accesses.watched():
        got = [run(net, params, e, **given) for _ in range(2)]
        inferred = net(params, e.x, **e.given)[0]
        bound = net.bind(params)(e.x, **e.given)[0]
    monkeypatch.setattr(beside, "forked", one_after_another)
    want = run(net, params, e, **given)
    for found in got:
        for one, other in zip(arrays(found), arrays(want), strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(inferred, net(params, e.x, **e.given)[0])
    np.testing.assert_array_equal(bound, inferred)


@pytest.mark.skipif(target.simulated, reason="a grid of a real device")
@pytest.mark.parametrize("batch", [1, 40])
def test_grids_whose_blocks_wait_for_one_another_run_at_once(batch, at_once, monkeypatch):
    net = rn.Network(rn.topologies.bidirectional(rn.cells.lstm(512)), inputs=8)
    e = testing.example(net, batch=batch, time=20, dtype="float32")
    params = e.params.to("cuda")
    got = run(net, params, e)
    monkeypatch.setattr(beside, "forked", one_after_another)
    for one, other in zip(arrays(got), arrays(run(net, params, e)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_on_streams_of_the_caller_one_after_another(at_once):
    """Two streams that know nothing of one another: what calls keep is there for both, and so is what they free."""
    net = rn.Network(stress.both_ways(stress.memory(2)), inputs=2)
    e = testing.example(net, batch=2, time=3)
    want = net(e.params, e.x)[0]
    with accesses.watched():
        params = e.params.to("cuda")
        bound, x = net.bind(params), space.put(e.x)
        given = space.xp.cuda.get_current_stream().record()
        for _ in range(2):
            for stream in [space.xp.cuda.Stream(non_blocking=True) for _ in range(3)]:
                stream.wait_event(given)
                with stream:
                    for one in (net(params, x), bound(x), net.forward(params, x)):
                        testing.close("y", space.xp.asnumpy(one[0]), want, 1e-12)


# what a mistake would do
def without_waits_before(many):
    return _forked(many, start=False)


def without_waits_after(many):
    return _forked(many, join=False)


def with_memory_of_its_own(many):
    return _forked(many, own=True)


@contextmanager
def _forked(many, start=True, join=True, own=False):
    """`rnncore.cuda.beside.forked`, without a part of it."""
    xp = space.xp
    caller = xp.cuda.get_current_stream()
    branches = [beside._Branch(caller) for _ in range(many)]
    begun, waiting = caller.record(), iter(branches)

    @contextmanager
    def branch():
        mine = next(waiting)
        if start:
            mine.stream.wait_event(begun)
        allocator = nullcontext() if own else xp.cuda.using_allocator(mine.malloc if start else None)
        with mine.stream, allocator:
            yield

    yield branch
    for each in branches:
        if join:
            caller.wait_event(each.stream.record())
        each.end()


@watching
@pytest.mark.parametrize("wrong", [without_waits_before, without_waits_after])
def test_a_wait_that_is_missing_is_found(wrong, at_once, monkeypatch):
    net = rn.Network(stress.both_ways(stress.memory(2)), inputs=2)
    e = testing.example(net, batch=2, time=3)
    params = e.params.to("cuda")
    monkeypatch.setattr(beside, "forked", wrong)
    with accesses.watched(), pytest.raises(StreamRace):
        run(net, params, e)


@watching
def test_what_is_kept_is_waited_for(at_once, monkeypatch):
    net = rn.Network(stress.both_ways(stress.memory(2)), inputs=2)
    e = testing.example(net, batch=3, time=3)
    params = e.params.to("cuda")
    monkeypatch.setattr(space.Stay, "array", lambda self: self._array)
    with accesses.watched(), pytest.raises(StreamRace, match="that was written on"):
        net(params, e.x, lengths=[1, 3, 2])


@watching
def test_memory_of_a_branch_is_of_the_streams_that_it_is_forked_from(at_once, monkeypatch):
    net = rn.Network(stress.both_ways(stress.memory(2)), inputs=2)
    e = testing.example(net, batch=2, time=3)

    def calls():
        with accesses.watched():
            params, x = e.params.to("cuda"), space.put(e.x)
            given = space.xp.cuda.get_current_stream().record()
            for stream in [space.xp.cuda.Stream(non_blocking=True) for _ in range(2)]:
                stream.wait_event(given)
                with stream:
                    [a.sum() for a in net(params, x)[1].values()]

    calls()
    monkeypatch.setattr(beside, "forked", with_memory_of_its_own)
    with pytest.raises(StreamRace, match="is given memory that was used on"):
        calls()


@watching
def test_memory_that_a_branch_takes_waits_for_what_the_caller_was_given_since():
    """By another thread, say, that freed it."""
    xp = space.xp
    with accesses.watched(), beside.forked(1) as branch:
        caller = xp.cuda.get_current_stream()
        with branch():
            with caller, xp.cuda.using_allocator(accesses._from_pool):
                xp.zeros(8).sum()
            made = xp.zeros(8)
            made += 1


@watching
def test_what_a_branch_frees_is_its_own_until_it_is_joined():
    xp, taken = space.xp, []

    def counted(size):
        taken.append(size)
        return accesses._from_pool(size)

    with accesses.watched(), xp.cuda.using_allocator(counted), beside.forked(2) as branch:
        for _ in range(2):
            with branch():
                for n in (100, 100, 3, 64):
                    xp.zeros(n)
    assert taken == [1024, 512] * 2


@watching
def test_a_branch_that_fails_is_joined_and_the_stream_is_the_callers_again():
    xp = space.xp
    caller = xp.cuda.get_current_stream()
    with pytest.raises(KeyError), beside.forked(2) as branch, branch():
        made = xp.zeros(3)
        raise KeyError
    assert xp.cuda.get_current_stream() is caller and xp.cuda.get_allocator() is accesses._from_pool
    with accesses.watched():
        made += 1


def shapes(units, batch, which="forward"):
    ((layer, sizes),) = rn.Network(rn.cells.lstm(units), inputs=64).loops.values()
    return (shape_of(code_of(layer.step, which, "float32"), sizes, layout_of(np.full(batch, 100), True), ""),)


@pytest.mark.parametrize("units, batch, steps, better", [
    (64, 32, 100, True), (64, 32, 10, False), (512, 1, 100, True), (1024, 64, 1000, False),
])  # fmt: skip
def test_the_model_says_whether_it_is_worth_it(units, batch, steps, better):
    assert beside.worthwhile((shapes(units, batch),) * 2, H200, steps) == better


@watching
def test_a_device_is_not_shared_among_more_than_it_has():
    small = target.Properties("one", (9, 0), 1, 65536, 8, 1 << 30)
    assert not beside.worthwhile((shapes(8, 1),) * 2, small, 1000)
    assert launch.shared_out(H200, 2).multiprocessors == 66 and launch.shared_out(small, 2).multiprocessors == 1


@watching
def test_blocks_that_run_at_once_all_fit(at_once, monkeypatch):
    """What waits for others is half of the device at most, also within a half."""
    seen, net = [], rn.Network(rn.topologies.bidirectional(stress.both_ways(stress.gated(3))), inputs=2)
    monkeypatch.setattr(target, "properties", lambda: target.Properties("eight", (9, 0), 8, 65536, 8, 1 << 30, 4))
    whole = launch.chosen
    monkeypatch.setattr(launch, "chosen", lambda shape, device: seen.append(device.multiprocessors) or
                        whole(shape, device))  # fmt: skip
    net(net.init(device="cuda"), np.ones((2, 3, 2), "float32"))
    assert seen and set(seen) == {2}


def test_loops_are_those_of_their_blocks():
    loops, layout = [*rn.Network(rn.topologies.deep(*[stress.memory(2)] * 3), inputs=2).loops.values()], _layout()
    found = [beside._shapes(works, "infer", layout, "float32", EXACT) for works in
             ([loops[:1], loops[1:]], [loops[:2], loops[2:]])]  # fmt: skip
    assert [[len(shapes) for shapes in each] for each in found] == [[1, 2], [2, 1]]


def test_what_reads_a_source_shares_its_adjoint_and_goes_in_turn(at_once):
    step = type("Step", (), {"sources": ("k",)})
    layer = type("Layer", (), {"step": step})
    with beside.beside([[(layer, {})]] * 2, "forward", _layout(), "float32") as branch:
        assert branch is nullcontext
