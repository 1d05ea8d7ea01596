"""Parameters: named views of one flat vector."""

import pickle

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError

net = rn.Network(stress.both_ways(stress.fastgrnn(4)), inputs=3, outputs=2)


def test_arrays_are_views_that_tile_the_vector_in_order():
    params = net.init()
    params.flat[:] = np.arange(params.flat.size)
    assert params.flat.flags.c_contiguous and params.flat.ndim == 1
    np.testing.assert_array_equal(np.concatenate([a.ravel() for a in params.values()]), params.flat)
    assert {k: v.shape for k, v in params.items()} == net.shapes == params.shapes
    params["readout.c"][:] = -1
    assert (params.flat[-2:] == -1).all()
    params["forward.zeta"][...] = 5
    assert 5 in params.flat and params["forward.zeta"].shape == ()


def test_a_vector_that_is_assigned_is_written_into_the_arrays():
    params, zeros = net.init(), net.init().flat * 0
    views = dict(params)
    params.flat = zeros + 2
    assert all((views[path] == 2).all() and params[path] is views[path] for path in net.shapes)
    params.flat -= 0.5
    params.flat = (params.flat + 1.0).astype("float64").tolist()
    assert all((view == 2.5).all() for view in views.values()) and params.dtype == np.float32
    with pytest.raises(InputError, match=rf"a vector of {zeros.size} numbers, got shape \({zeros.size - 1},\)"):
        params.flat = zeros[1:]
    assert (params.flat == 2.5).all()


def test_they_are_no_array_but_have_one():
    with pytest.raises(InputError, match="params.flat is one vector of their numbers"):
        np.asarray(net.init())


def test_it_is_a_mapping():
    params = net.init()
    assert len(params) == len(net.shapes) == len(list(params)) and "readout.V" in params and "V" not in params
    with pytest.raises(KeyError, match="no parameter 'W'; there are: forward"):
        params["W"]
    params["readout.c"] = [1, 2]
    assert params["readout.c"].tolist() == [1, 2]
    with pytest.raises(InputError, match=r"parameter 'readout.c' has shape \(2,\), got an array of shape \(3,\)"):
        params["readout.c"] = [1, 2, 3]


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others():
    a, b, c = net.init(seed=3), net.init(seed=3), net.init(seed=4)
    assert a == b and a != c and a != "params"
    np.testing.assert_allclose(net.init(seed=3, dtype="float64").flat, a.flat, rtol=1e-6)


def test_parameters_of_one_path_do_not_depend_on_what_stands_behind_it():
    wider = rn.Network(stress.both_ways(stress.fastgrnn(4)), inputs=3, outputs=9)
    np.testing.assert_array_equal(wider.init(seed=1)["forward.U_xa"], net.init(seed=1)["forward.U_xa"])


def test_copies_and_other_vectors():
    params = net.init()
    copied, cast = params.copy(), params.astype("float64")
    copied.flat[:] = 0
    assert params.flat.any() and cast.dtype == "float64" and cast.shapes == params.shapes
    vector = np.zeros(params.flat.size)
    other = params.with_flat(vector)
    other["readout.c"][:] = 1
    assert vector[-1] == 1 and other.flat is vector or np.shares_memory(other.flat, vector)
    with pytest.raises(InputError, match=rf"need a vector of {params.flat.size} numbers, got shape \(3,\)"):
        params.with_flat(np.zeros(3))
    with pytest.raises(InputError, match="float32 or float64, got int64"):
        params.with_flat(np.zeros(params.flat.size, "int64"))


def test_they_pickle_and_keep_views():
    params = pickle.loads(pickle.dumps(net.init(seed=1)))
    assert params == net.init(seed=1)
    params["readout.c"][:] = 3
    assert (params.flat[-2:] == 3).all()


def test_the_print_lists_paths_and_shapes():
    text = repr(net.init())
    assert "readout.V" in text and "2x8" in text and "scalar" in text and "float32" in text


def test_a_device_that_is_not_there():
    params = net.init()
    assert params.device == "cpu" and params.to("cpu") is params
    with pytest.raises(InputError, match="device must be one of 'cpu', 'cuda', got 'tpu'"):
        params.to("tpu")
    with pytest.raises(InputError, match="device must be one of 'cpu', 'cuda', got 'tpu'"):
        net.init(device="tpu")


@pytest.mark.parametrize("given, words", [
    ({"dtype": "float16"}, "dtype must be 'float32' or 'float64'"), ({"dtype": "double precision"}, "dtype must be"),
    ({"seed": -1}, "seed must be an integer of at least 0, got -1"), ({"seed": 1.5}, "seed must be"),
    ({"seed": True}, "seed must be"), ({"recurent": "zeros"}, "'recurent' is no role of parameters"),
    ({"recurrent": "orthogonl"}, "orthogonal"), ({"recurrent": object()}, "must be a number, a name or an initiali"),
])  # fmt: skip
def test_wrong_initial_settings(given, words):
    with pytest.raises(InputError, match=words):
        net.init(**given)


def test_initializers_are_chosen_by_role():
    plain = rn.Network(stress.memory(6), inputs=3, outputs=2, initial_state="learned")
    params = plain.init(recurrent="zeros", input=0.25, readout=rn.initializers.constant(value=2.0), state=0.5)
    assert not params["W_hi"].any() and (params["W_xi"] == 0.25).all() and (params["readout.V"] == 2).all()
    assert (params["h0"] == 0.5).all() and (params["b_f"] == 1).all() and not params["b_i"].any()


def test_what_is_used_unasked_is_what_the_literature_recommends():
    params = rn.Network(stress.memory(40), inputs=30).init(dtype="float64")
    w = params["W_hi"]
    np.testing.assert_allclose(w @ w.T, np.eye(40), atol=1e-12)
    limit = np.sqrt(6 / 70)
    assert np.abs(params["W_xi"]).max() <= limit and np.abs(params["W_xi"]).max() > 0.9 * limit


def test_scipy_minimises_over_the_vector():
    from scipy.optimize import minimize

    small = rn.Network(stress.simple(3), inputs=1, outputs=1)
    params = small.init(seed=0, dtype="float64")
    x = np.linspace(-1, 1, 12).reshape(4, 3, 1)
    target = np.cumsum(x, 1) / 3

    def objective(vector):
        value, grads = small.loss_and_grad(params.with_flat(vector), x, target, loss=stress.squared)
        return value, grads.flat

    before = objective(params.flat)[0]
    found = minimize(objective, params.flat, jac=True, method="L-BFGS-B", options={"maxiter": 60})
    assert found.fun < 0.01 * before
