"""Model files: what was saved comes back, and nothing that does not fit does."""

import numpy as np
import pytest
from safetensors import safe_open

import rnncore as rn
from rnncore.cuda import target
from rnncore.train import load_model, save_model
from rnncore.train.files import read_arrays, write_arrays


@pytest.fixture
def net():
    return rn.Network(rn.topologies.bidirectional(rn.cells.gru(3)), inputs=2, outputs=4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_comes_back_as_it_was(tmp_path, net, dtype):
    params = net.init(seed=3, dtype=dtype)
    extra = {"classes": ["a", "ü"], "mean": [0.5, 1e-300], "deep": {"none": None}}
    save_model(tmp_path / "m", net, params, extra)
    again, read, found = load_model(tmp_path / "m")
    assert again == net and found == extra and read == params and read.dtype == dtype
    x = np.random.default_rng(0).standard_normal((2, 5, 2))
    np.testing.assert_array_equal(again(read, x)[0], net(params, x)[0])


@pytest.mark.skipif(target.missing() is not None, reason="needs a GPU or the simulator")
def test_parameters_on_a_gpu_come_back_on_the_cpu(tmp_path, net):
    params = net.init(seed=3)
    save_model(tmp_path / "m", net, params.to("cuda"))
    read = load_model(tmp_path / "m")[1]
    assert read.device == "cpu" and read == params


def test_any_reader_of_safetensors_finds_arrays_by_path_and_the_network(tmp_path, net):
    params = net.init()
    save_model(tmp_path / "m", net, params)
    with safe_open(tmp_path / "m", framework="numpy") as file:
        assert set(file.keys()) == set(params)
        np.testing.assert_array_equal(file.get_tensor("forward.W_xz"), params["forward.W_xz"])
        assert rn.Network.from_json(file.metadata()["network"]) == net


def test_what_is_read_can_be_trained_on(tmp_path, net):
    save_model(tmp_path / "m", net, net.init())
    params = load_model(tmp_path / "m")[1]
    params["readout.c"][:] = 1
    assert (params.flat == 1).sum() >= 4


def test_refuses_to_save_what_does_not_fit(tmp_path, net):
    other = rn.Network(rn.cells.gru(3), inputs=2, outputs=4)
    with pytest.raises(rn.InputError):
        save_model(tmp_path / "m", net, other.init())
    for extra in ({"a": np.ones(2)}, {"a": float("nan")}):
        with pytest.raises(rn.InputError, match="extra must be plain JSON"):
            save_model(tmp_path / "m", net, net.init(), extra)
    assert not list(tmp_path.iterdir())


def changed(arrays, change):
    name = "forward.W_xz"
    if change == "missing":
        del arrays[name]
    if change == "unknown":
        arrays["W_new"] = arrays[name]
    if change == "shape":
        arrays[name] = arrays[name].T
    if change == "mixed":
        arrays[name] = arrays[name].astype("float64")
    if change == "integers":
        arrays = {n: a.astype("int64") for n, a in arrays.items()}
    return arrays


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("missing", r"'forward.W_xz' of shape \(3, 2\) is missing"),
        ("unknown", "'W_new' is none of this network's"),
        ("shape", r"'forward.W_xz' has shape \(2, 3\), expected \(3, 2\)"),
        ("mixed", "expected all float32 or all float64, got float32, float64"),
        ("integers", "expected all float32 or all float64, got int64"),
    ],
)
def test_arrays_that_are_not_the_network_s(tmp_path, net, change, text):
    save_model(tmp_path / "m", net, net.init())
    arrays, metadata = read_arrays(tmp_path / "m", "model")
    write_arrays(tmp_path / "m", "model", changed(arrays, change), metadata)
    with pytest.raises(rn.FileError, match=text):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("network", ["not JSON", "{}", "[]", "null", None])
def test_networks_that_cannot_be_read(tmp_path, net, network):
    save_model(tmp_path / "m", net, net.init())
    arrays, metadata = read_arrays(tmp_path / "m", "model")
    metadata = {**metadata, "network": network} if network is not None else {"extra": "{}"}
    write_arrays(tmp_path / "m", "model", arrays, metadata)
    with pytest.raises(rn.FileError, match="network of this model cannot be read"):
        load_model(tmp_path / "m")


def test_an_unknown_cell_is_named(tmp_path, net):
    save_model(tmp_path / "m", net, net.init())
    arrays, metadata = read_arrays(tmp_path / "m", "model")
    metadata["network"] = metadata["network"].replace('"gru"', '"gone"')
    write_arrays(tmp_path / "m", "model", arrays, metadata)
    with pytest.raises(rn.FileError, match="gone"):
        load_model(tmp_path / "m")


def test_damage(tmp_path, net):
    save_model(tmp_path / "m", net, net.init())
    whole = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    with pytest.raises(rn.FileError, match="damaged"):
        load_model(tmp_path / "m")
    with pytest.raises(rn.FileError, match="no such file"):
        load_model(tmp_path / "none")
