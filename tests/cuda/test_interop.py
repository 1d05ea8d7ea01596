"""Arrays of other libraries, taken where they lie and given back as the same kind, in the order of both's streams."""

from types import SimpleNamespace

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import testing
from rnncore.cuda import accesses, space, streams, target
from rnncore.cuda.accesses import StreamRace
from rnncore.errors import InputError

pytestmark = pytest.mark.skipif(not target.simulated, reason="another library is played in the simulator")
net = rn.Network(stress.both_ways(stress.gated(3)), inputs=2, outputs=2)
e = testing.example(net, batch=2, time=3)


class Tensor:
    """An array of a library of its own, which works on its own stream and knows DLPack alone."""

    stream = streams.Stream(non_blocking=True)
    asked: list = []

    def __init__(self, held):
        self.held = held

    @classmethod
    def of(cls, host):
        with cls.stream:
            return cls(space.put(host) * 1)

    @classmethod
    def from_dlpack(cls, array):
        assert array.__dlpack_device__() == (2, 0)
        capsule = array.__dlpack__(stream=cls.stream.ptr, max_version=(1, 0))
        return cls(space.xp.from_dlpack(SimpleNamespace(__dlpack__=lambda **_: capsule)))

    def __array_namespace__(self):
        return SimpleNamespace(from_dlpack=self.from_dlpack)

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        self.asked.append((stream, max_version))
        with self.stream:
            return self.held.__dlpack__(stream=stream, max_version=max_version)

    def numpy(self):
        with self.stream:
            return space.xp.asnumpy(self.held)


class Old(Tensor):
    """Before DLPack had versions."""

    def __dlpack__(self, *, stream=None):
        return super().__dlpack__(stream=stream)


class Described:
    """An array that says where its memory lies and which stream works on it, and nothing else."""

    def __init__(self, host, stream=None, **described):
        self.held = space.put(host)
        seen = {**self.held.__cuda_array_interface__, "stream": stream and (stream.ptr or 1), **described}
        self.__cuda_array_interface__ = seen


def passed(x, dy, params):
    y, final, tape = net.forward(params, x, **e.given)
    dx, dstate, grads = net.backward(params, tape, dy)
    return y, dx, final, dstate, grads


def want():
    y, final, tape = net.forward(e.params, e.x, **e.given)
    dx, dstate, _ = net.backward(e.params, tape, e.dy)
    return [y, dx, *final.values(), *dstate.values()]


def listed(found):
    y, dx, final, dstate, _ = found
    return [y, dx, *final.values(), *dstate.values()]


@pytest.mark.parametrize("kind", [Tensor, Old])
@pytest.mark.parametrize("caller", [streams.Stream.null, streams.Stream(non_blocking=True)], ids=["default", "own"])
def test_what_goes_in_by_dlpack_comes_out_as_the_same_kind_in_order_on_both_streams(kind, caller):
    with accesses.watched():
        params, kind.asked[:] = e.params.to("cuda"), []
        caller.wait_event(streams.Stream.null.record())
        x, dy = kind.of(e.x), kind.of(e.dy)
        with caller:
            found = passed(x, dy, params)
        assert all(type(a) is kind for a in listed(found)) and isinstance(found[-1].flat, space.xp.ndarray)
        assert {stream for stream, _ in kind.asked} == {caller.ptr or 1}
        for got, wanted in zip(listed(found), want(), strict=True):
            testing.close("an array", got.numpy(), wanted, 1e-10)


def test_a_library_that_orders_nothing_is_found_by_the_watch():
    class Careless(Tensor):
        def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
            return super().__dlpack__(stream=-1, max_version=max_version)

    with accesses.watched(), pytest.raises(StreamRace):
        passed(Careless.of(e.x), Careless.of(e.dy), e.params.to("cuda"))


def test_nothing_is_copied_on_the_way_in_or_out():
    x = Tensor.of(e.x)
    inside = space.xp.from_dlpack(x)
    assert np.shares_memory(inside.host, x.held.host)
    out = Tensor.from_dlpack(inside)
    assert np.shares_memory(out.held.host, x.held.host)
    described = Described(e.x)
    from rnncore.cuda.arrays import taken

    assert np.shares_memory(taken(described, "x").host, described.held.host)
    assert np.shares_memory(taken(x, "x").host, x.held.host)


def test_streams_of_the_cuda_array_interface_are_waited_for():
    work = streams.Stream(non_blocking=True)
    with accesses.watched():
        params = e.params.to("cuda")
        with work:
            late = Described(e.x, work)
        with streams.Stream(non_blocking=True):
            never = Described(e.x, None)
        testing.close("y", space.xp.asnumpy(net(params, late, **e.given)[0]), want()[0], 1e-10)
        with pytest.raises(StreamRace):  # nobody is asked to wait
            net(params, never, **e.given)
        legacy = Described(e.x, streams.Stream.null)
        assert legacy.__cuda_array_interface__["stream"] == 1
        mine = streams.Stream(non_blocking=True)
        mine.wait_event(work.record())  # for what is kept
        with mine:
            net(params, legacy, **e.given)


@pytest.mark.parametrize("described, words", [
    ({"stream": 0}, "its stream is 0, which is ambiguous"),
    ({"mask": np.zeros(3)}, "does not support masked arrays"),
])  # fmt: skip
def test_interfaces_that_say_nonsense_are_one_clear_error(described, words):
    with pytest.raises(InputError, match=f"input 'x' cannot be taken from .*Described: .*{words}"):
        net(e.params.to("cuda"), Described(e.x, **described))


def test_strides_flags_and_nothing_at_all_by_the_interface():
    params, wanted = e.params.to("cuda"), net(e.params, e.x)[0]
    wide = np.zeros((3, 2, 5))
    wide[:, :, 1:5:3] = e.x.transpose(1, 0, 2)
    whole = Described(wide)
    seen = whole.__cuda_array_interface__
    (address, _), (down, along, item) = seen["data"], wide.strides
    whole.__cuda_array_interface__ = {**seen, "shape": e.x.shape, "strides": (along, down, 3 * item),
                                      "data": (address + item, True)}  # fmt: skip
    y = net(params, whole)[0]  # read-only, and in rows that are not side by side
    testing.close("y", space.xp.asnumpy(y), wanted, 1e-12)
    assert space.xp.asnumpy(whole.held).tobytes() == wide.tobytes()
    for shape in ((0, 3, 2), (2, 0, 2)):
        for empty in (Described(np.zeros(shape)), Tensor.of(np.zeros(shape))):
            y = net(params, empty)[0]
            assert getattr(y, "held", y).shape == shape and type(y) is not np.ndarray
    twice = net(params, Described(e.x.astype("float32")))[0]
    assert isinstance(twice, space.xp.ndarray) and twice.dtype == np.float64  # cast, as a host's array is


def test_arrays_of_other_devices_are_one_clear_error():
    class Elsewhere(Tensor):
        where = 2, 1

        def __dlpack_device__(self):
            return self.where

    params = e.params.to("cuda")
    with pytest.raises(InputError, match="input 'x' is a Elsewhere on device 1, the parameters are on the device 0"):
        net(params, Elsewhere.of(e.x))
    Elsewhere.where = 10, 0
    with pytest.raises(InputError, match="on what DLPack numbers 10, the parameters are on the device 0"):
        net(params, Elsewhere.of(e.x))


def test_parameters_and_arrays_of_another_device_than_the_current_one(monkeypatch):
    params, x = e.params.to("cuda"), space.put(e.x)
    bound = net.bind(params)
    monkeypatch.setattr(space.xp.cuda.runtime, "getDevice", lambda: 1)
    with pytest.raises(InputError, match="input 'x' is on device 0, the current one is 1: make the other current"):
        net(params, x)
    for call in (lambda x: net(params, x), bound):
        with pytest.raises(InputError, match="the parameters are on device 0, the current one is 1: make the other"):
            call(e.x)


def test_dlpack_numbers_of_streams():
    held, own = space.put(e.x), streams.Stream(non_blocking=True)
    with pytest.raises(ValueError, match="stream 0 is ambiguous"):
        held.__dlpack__(stream=0)
    with accesses.watched():
        with own:
            made = space.put(e.x)
            made.__dlpack__(stream=-1)
        with pytest.raises(StreamRace):
            made.sum()
        with own:
            made.__dlpack__(stream=None)  # the legacy default stream
        made.sum()


# CPU tensors of PyTorch and JAX are arrays of the host
class Hosted:
    """Another library's array on the host, by DLPack and ``__array__``."""

    def __init__(self, host):
        self.host = host

    def __dlpack_device__(self):
        return 1, 0

    def __array__(self, dtype=None, copy=None):
        return self.host


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_arrays_of_the_host_are_copied_in_and_results_are_numpys(device):
    found = passed(Hosted(e.x), Hosted(e.dy), e.params.to(device))
    assert all(type(a) is np.ndarray for a in listed(found))
    for got, wanted in zip(listed(found), want(), strict=True):
        testing.close("an array", got, wanted, 1e-10)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_a_library_does_not_hand_out_is_one_clear_error(device):
    class Refuses(Hosted):
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("use tensor.detach().numpy() instead")

    with pytest.raises(InputError, match="input 'x' cannot be read as an array: use tensor.detach"):
        net(e.params.to(device), Refuses(e.x))
