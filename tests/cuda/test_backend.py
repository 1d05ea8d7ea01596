"""Networks on the device, called as on the CPU: with NumPy arrays, with arrays of any library, with none."""

import copy
import pickle

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import testing
from rnncore.cuda import space, target
from rnncore.errors import InputError

pytestmark = pytest.mark.skipif(target.missing() is not None, reason="needs a GPU or the simulator")
net = rn.Network(stress.both_ways(stress.gated(3)), inputs=2, outputs=2, initial_state="learned")
tokens = rn.Network(stress.memory(3), inputs=rn.Tokens(4), outputs=4)


class Fake:
    """Another library's array: all that it says is where its memory lies."""

    def __init__(self, array):
        self.held = space.put(array)
        self.__cuda_array_interface__ = self.held.__cuda_array_interface__


def there(value):
    return {k: space.put(v) for k, v in value.items()} if isinstance(value, dict) else space.put(value)


def agree(got, want, bound=1e-10):
    if isinstance(want, dict):
        assert list(got) == list(want)
        for name in want:
            agree(got[name], want[name], bound)
    elif isinstance(want, (tuple, list)):
        for one, other in zip(got, want, strict=True):
            agree(one, other, bound)
    elif want is not None:
        testing.close("on the device", space.xp.asnumpy(got) if isinstance(got, space.xp.ndarray) else got, want, bound)


def run(net, params, x, given, dy, dstate):
    y, final, tape = net.forward(params, x, **given)
    dx, start, grads = net.backward(params, tape, dy, dstate=dstate)
    return net(params, x, **{k: v for k, v in given.items() if k != "checkpoint"}), y, final, dx, start, grads.flat


@pytest.mark.parametrize("every", [None, 2])
@pytest.mark.parametrize("one", [net, tokens], ids=["vectors", "tokens"])
def test_calls_agree_with_the_cpu(one, every):
    e = testing.example(one, batch=3, time=3)
    given = {**e.given, "checkpoint": every}
    want = run(one, e.params, e.x, given, e.dy, e.dstate)
    on_device = {**given, "state": there(e.state)}
    agree(run(one, e.params.to("cuda"), there(e.x), on_device, there(e.dy), there(e.dstate)), want)
    agree(run(one, e.params.to("cuda"), e.x, given, e.dy, e.dstate), want)


def test_masks_and_resets():
    e = testing.example(net, batch=3, time=4)
    rng = np.random.default_rng(0)
    given = {**e.given, "mask": rng.random((3, 4)) < 0.7, "reset": rng.random((3, 4)) < 0.4}
    agree(run(net, e.params.to("cuda"), e.x, given, e.dy, e.dstate), run(net, e.params, e.x, given, e.dy, e.dstate))


def test_losses_and_their_gradients():
    e = testing.example(tokens, batch=3, time=3)
    target = np.random.default_rng(0).integers(0, 4, (3, 3))
    for loss in (stress.entropy(), stress.squared()):
        goal = target if loss.name == "entropy" else e.dy
        want, grads = tokens.loss_and_grad(e.params, e.x, goal, loss=loss, lengths=e.lengths)
        for x, given in ((there(e.x), there(goal)), (e.x, goal)):
            got, found = tokens.loss_and_grad(e.params.to("cuda"), x, given, loss=loss, lengths=e.lengths)
            assert isinstance(got, float) and abs(got - want) < 1e-10 * abs(want)
            assert found.device == "cuda"
            agree(found.flat, grads.flat)


def test_generation():
    params = tokens.init(seed=1, dtype="float64")
    for how in ({}, {"beam": 2}, {"temperature": 1.0, "seed": 0}):
        got, want = (rn.generate(tokens, p, [[1, 2], [3, 0]], steps=3, **how) for p in (params.to("cuda"), params))
        assert got.tokens.tolist() == want.tokens.tolist()
        agree(got.state, want.state)


def test_a_stream_goes_step_by_step():
    e = testing.example(rn.Network(stress.gated(3), inputs=2, outputs=2), batch=2, time=3)
    one = rn.Network(stress.gated(3), inputs=2, outputs=2)
    want, final = one(e.params, e.x, state=e.state)
    for state, move in ((e.state, np.asarray), (there(e.state), there)):
        stream = one.stream(e.params.to("cuda"), batch=2, state=state)
        got = [stream.step(move(e.x[:, t])) for t in range(3)]
        assert all(type(y) is type(move(want[:, 0])) for y in got)
        agree(got, [want[:, t] for t in range(3)])
        agree(stream.state, final)


def test_a_copy_of_a_stream_stays_on_the_device_and_a_pickle_goes_to_the_cpu():
    one = rn.Network(stress.gated(3), inputs=2, outputs=2)
    e = testing.example(one, batch=2, time=3)
    want, final = one(e.params, e.x, state=e.state)
    stream = one.stream(e.params.to("cuda"), batch=2, state=e.state)
    stream.step(e.x[:, 0])
    copies = [copy.copy(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    stream.step(e.x[:, 2])
    assert [type(other).__name__ for other in copies] == ["DeviceStream", "DeviceStream", "Stream"]
    assert repr(copies[0]) == f"<stream of {one!r}, batch 2, {e.params.dtype}, on cuda>"
    for other in copies:
        agree([other.step(e.x[:, t]) for t in (1, 2)], [want[:, t] for t in (1, 2)])
        agree(other.state, final)
    run = one.bind(e.params.to("cuda"))
    assert (copy.deepcopy(run).device, pickle.loads(pickle.dumps(run)).device) == ("cuda", "cpu")


# kinds of arrays
def test_numpy_comes_back_as_numpy_and_what_lies_on_the_device_stays_there():
    e = testing.example(net, batch=2, time=3)
    params = e.params.to("cuda")
    want = run(net, e.params, e.x, e.given, e.dy, e.dstate)
    got = run(net, params, e.x.tolist(), e.given, e.dy, e.dstate)
    arrays = [got[0][0], got[1], got[3], *got[0][1].values(), *got[2].values(), *got[4].values()]
    assert all(type(a) is np.ndarray for a in arrays) and isinstance(got[5], space.xp.ndarray)
    agree(got, want)
    held = space.put(e.x)
    y, _ = net(params, held, **e.given)
    assert isinstance(y, space.xp.ndarray) and space.xp.asnumpy(held).tobytes() == e.x.tobytes()


def test_an_array_of_another_library_is_read_where_it_lies():
    e = testing.example(net, batch=2, time=3)
    want, _ = net(e.params, e.x, **e.given)
    y, final = net(e.params.to("cuda"), Fake(e.x), **e.given)
    assert isinstance(y, space.xp.ndarray)  # its library takes no arrays of others: it gets ours
    agree(y, want)
    for strided in (e.x.transpose(1, 0, 2).copy().transpose(1, 0, 2), np.repeat(e.x, 2, 2)[..., ::2]):
        held = space.put(np.zeros(strided.shape)) if target.simulated is False else None
        x = Fake(strided) if held is None else Fake(strided.copy())
        agree(net(e.params.to("cuda"), x, **e.given)[0], want)


def test_arrays_of_the_device_and_parameters_of_the_host_are_one_clear_error():
    e = testing.example(net, batch=2, time=3)
    with pytest.raises(InputError, match="input 'x' is on cuda .*Fake.*the parameters are on the CPU"):
        net(e.params, Fake(e.x))
    with pytest.raises(InputError, match=r"state 'forward.h' is on cuda .*params.to\('cuda'\)"):
        net(e.params, e.x, state=there(e.state))
    with pytest.raises(InputError, match="target is on cuda"):
        net.loss(e.params, e.x, there(e.dy), loss=stress.squared())
    _, _, tape = net.forward(e.params, e.x)
    with pytest.raises(InputError, match="dy is on cuda"):
        net.backward(e.params, tape, there(e.dy))
    with pytest.raises(InputError, match="the tape was made on 'cpu', the parameters are on 'cuda'"):
        net.backward(e.params.to("cuda"), tape, e.dy)


def test_wrong_shapes_are_told_as_on_the_cpu():
    params = net.init(device="cuda")
    for x, words in ((np.ones((2, 3)), r"must have shape \(batch, time, 2\)"), (np.array(["a"]), "must be numbers")):
        with pytest.raises(InputError, match=words):
            net(params, x)
    with pytest.raises(InputError, match=r"tokens must lie in 0\.\.3, got 4"):
        tokens(tokens.init(device="cuda"), space.put(np.array([[4]])))


# parameters
def test_parameters_go_to_the_device_and_back():
    params = net.init(seed=3)
    moved = params.to("cuda")
    assert (params.device, moved.device) == ("cpu", "cuda") and moved.to("cuda") is moved
    assert moved == params and moved.to("cpu") == params and net.init(seed=3, device="cuda") == params
    assert isinstance(moved.flat, space.xp.ndarray) and "on cuda" in repr(moved) and "on" not in repr(params)
    moved["readout.c"] = [1, 2]
    moved.flat[:1] = 7
    assert float(moved.flat[-1]) == 2 and float(next(iter(moved.values())).ravel()[0]) == 7 and moved != params
    for other in (moved.copy(), copy.deepcopy(moved), copy.copy(moved)):
        assert other == moved and other.device in ("cuda", "cpu")
    assert copy.deepcopy(moved).device == "cuda" and moved.astype("float64").device == "cuda"
    again = pickle.loads(pickle.dumps(moved))
    assert again.device == "cpu" and again == moved
    flat = np.arange(params.flat.size, dtype="float32")
    assert moved.with_flat(flat).device == "cuda" and moved.with_flat(flat) == params.with_flat(flat)
    assert moved.with_flat(Fake(flat)) == params.with_flat(flat)
    assert rn.Params(params.shapes, Fake(flat)).device == "cuda"
    with pytest.raises(InputError, match="flat is on 'cuda', the parameters are on 'cpu'"):
        params.with_flat(moved.flat)


def test_what_is_for_the_cpu_alone_says_so():
    params = net.init(device="cuda")
    one = rn.Network(stress.gated(3), inputs=2)
    with pytest.raises(InputError, match="a stepper's parameters are on the CPU"):
        one.stepper(one.init(device="cuda"))
    with pytest.raises(InputError, match="weights='bfloat16' is for parameters on the CPU"):
        net.bind(params, weights="bfloat16")
    run = net.bind(params)
    x = np.ones((2, 3, 2), "float32")
    testing.same_bits("bound", run(x), net(params, x))


def test_calls_that_would_be_captured_in_a_graph_are_one_clear_error():
    """Its replays would use memory that the call has given back."""
    params, x = net.init(device="cuda"), np.ones((2, 3, 2), "float32")
    run, stream = net.bind(params), space.xp.cuda.Stream(non_blocking=True)
    y, _, tape = net.forward(params, x)
    with stream:
        stream.begin_capture()
        try:
            for call in (net, net.forward):
                with pytest.raises(InputError, match="'cuda' is not available: .* captured in a CUDA graph"):
                    call(params, x)
            with pytest.raises(InputError, match="captured"):
                run(space.put(x) if target.simulated else y)
            with pytest.raises(InputError, match="captured"):
                net.backward(params, tape, y)
        finally:
            stream.end_capture()
    testing.same_bits("afterwards", run(x), (y, run(x)[1]))


def test_a_capture_that_the_legacy_stream_would_join_is_the_same_error():
    params, stream = net.init(device="cuda"), space.xp.cuda.Stream()
    with space.xp.cuda.Stream.null:
        stream.begin_capture()
        try:
            with pytest.raises(InputError, match="'cuda' is not available: .* captured in a CUDA graph"):
                net(params, np.ones((2, 3, 2), "float32"))
        finally:
            stream.end_capture()
        net(params, np.ones((2, 3, 2), "float32"))


@pytest.mark.skipif(not target.simulated, reason="CuPy's streams take no other methods")
def test_what_else_a_device_says_is_not_taken_for_a_capture(monkeypatch):
    params, said = net.init(device="cuda"), "cudaErrorIllegalAddress: an illegal memory access was encountered"

    def refuse(self):
        raise RuntimeError(said)

    with space.xp.cuda.Stream() as stream:
        monkeypatch.setattr(type(stream), "is_capturing", refuse)
        with pytest.raises(RuntimeError, match=said):
            net(params, np.ones((2, 3, 2), "float32"))


def test_more_than_a_kernel_counts_is_an_error(monkeypatch):
    monkeypatch.setattr("rnncore.cuda.launch._MOST", 4)
    with pytest.raises(InputError, match="a kernel counts up to 4 on a GPU, this call needs [0-9]+: give fewer"):
        net(net.init(seed=0).to("cuda"), np.zeros((7, 2, 2), "float32"))
