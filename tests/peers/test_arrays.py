"""Arrays of PyTorch and JAX: those of the host are read like NumPy's, those of a GPU stay there and come back."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import testing
from rnncore.cuda import target
from rnncore.errors import InputError

pytestmark = pytest.mark.peers
net = rn.Network(stress.both_ways(stress.gated(3)), inputs=2, outputs=2)
e = testing.example(net, batch=2, time=3, dtype="float32")
gpu = pytest.mark.skipif(target.simulated or target.missing() is not None, reason="needs a GPU")


def torch_of(host, **where):
    return pytest.importorskip("torch").tensor(host, **where)


def jax_of(host):
    jax = pytest.importorskip("jax")
    return jax.device_put(host, jax.devices("cpu")[0])


def passed(params, x, dy, state):
    y, final, tape = net.forward(params, x, state=state)
    dx, dstate, _ = net.backward(params, tape, dy)
    return [y, dx, *final.values(), *dstate.values(), net.bind(params)(x, state=state)[0]]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("of", [torch_of, jax_of])
def test_arrays_of_the_host_are_read_like_numpys(of, device):
    if device == "cuda" and target.missing() is not None:
        pytest.skip("needs a GPU or the simulator")
    params = e.params.to(device)
    want = passed(params, e.x, e.dy, e.state)
    got = passed(params, of(e.x), of(e.dy), {name: of(part) for name, part in e.state.items()})
    assert all(type(array) is np.ndarray for array in got)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)
    parts = [of(part) for part in e.x]
    for one, other in zip(net(params, parts)[0], net(params, list(e.x))[0], strict=True):
        np.testing.assert_array_equal(one, other)
    goal = of(e.dy)
    loss, _ = net.loss_and_grad(params, of(e.x), goal, loss="mean_squared")
    assert loss == net.loss_and_grad(params, e.x, e.dy, loss="mean_squared")[0]
    assert params.with_flat(of(np.zeros(params.flat.size, "float32"))).device == device


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_tensor_that_is_differentiated_says_what_to_do(device):
    if device == "cuda" and target.missing() is not None:
        pytest.skip("needs a GPU or the simulator")
    with pytest.raises(InputError, match="input 'x' cannot be read as an array: .*requires grad.*detach"):
        net(e.params.to(device), torch_of(e.x, requires_grad=True))


# with a GPU
def on_gpu(library):
    """(an array there of a host's, its array type, the host's array of one)."""
    if library == "cupy":
        cupy = pytest.importorskip("cupy")
        return cupy.asarray, cupy.ndarray, cupy.asnumpy
    if library == "torch":
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("this PyTorch sees no GPU")
        return (lambda host: torch.tensor(host, device="cuda")), torch.Tensor, lambda tensor: tensor.cpu().numpy()
    jax = pytest.importorskip("jax")
    try:
        place = jax.devices("gpu")[0]
    except RuntimeError:
        pytest.skip("this JAX sees no GPU")
    return (lambda host: jax.device_put(host, place)), jax.Array, np.asarray


@gpu
@pytest.mark.parametrize("library", ["cupy", "torch", "jax"])
def test_arrays_of_a_gpu_stay_there_and_come_back_as_the_same_kind(library):
    there, kind, back = on_gpu(library)
    params = e.params.to("cuda")
    want = passed(params, e.x, e.dy, e.state)
    got = passed(params, there(e.x), there(e.dy), {name: there(part) for name, part in e.state.items()})
    assert all(isinstance(array, kind) for array in got)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(back(one), other)
    for shape in ((0, 3, 2), (2, 0, 2)):
        assert net(params, there(np.zeros(shape, "float32")))[0].shape == shape
    turned = there(np.ascontiguousarray(e.x.transpose(1, 0, 2)))
    turned = turned.transpose(0, 1) if library == "torch" else turned.transpose(1, 0, 2)
    np.testing.assert_array_equal(back(net(params, turned)[0]), net(params, e.x)[0])


@gpu
def test_work_is_in_order_on_streams_of_pytorch_and_the_host_does_not_wait():
    torch, cupy = pytest.importorskip("torch"), pytest.importorskip("cupy")
    there, _, back = on_gpu("torch")
    params, want, ready = e.params.to("cuda"), net(e.params.to("cuda"), e.x)[0], there(e.x)
    net(params, ready)  # compiled, and what is kept is there
    torch.cuda.synchronize()
    for ours in (cupy.cuda.Stream.null, cupy.cuda.Stream(non_blocking=True)):
        theirs, done = torch.cuda.Stream(), torch.cuda.Event()
        with torch.cuda.stream(theirs), ours:
            torch.cuda._sleep(int(2e8))  # about a tenth of a second
            x = ready * 1
            y = net(params, x)[0]
            twice = y * 2  # on their stream, which waits for ours
            done.record()
            assert not done.query()
            x.zero_()  # after it was read
        np.testing.assert_array_equal(back(twice), 2 * want)


@gpu
def test_work_is_in_order_on_streams_of_cupy_and_the_host_does_not_wait():
    cupy = pytest.importorskip("cupy")
    params, x = e.params.to("cuda"), cupy.asarray(e.x)
    want = net(params, e.x)[0]
    net(params, x)
    cupy.cuda.Device().synchronize()
    large = cupy.ones((8192, 8192), "float32")
    with cupy.cuda.Stream(non_blocking=True) as stream:
        for _ in range(20):
            large = large @ large * 0
        y = net(params, x + large[0, 0])[0]
        assert not stream.done
        np.testing.assert_array_equal(cupy.asnumpy(y), want)
