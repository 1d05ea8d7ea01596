"""A network's step inside compiled code of the user's own."""

import pickle
import subprocess
import sys
import textwrap
import threading

import numba
import numpy as np
import pytest
import stress
from stepwise import NETWORKS, net, params, swing, x

import rnncore as rn
from rnncore.errors import InputError
from rnncore.testing import example, same_bits


@numba.njit(nogil=True)
def simulate(stepper, run, x, y):
    for t in range(len(x)):
        stepper.step(run, x[t], y[t])


@numba.njit
def drift(stepper, run, y):
    for t in range(len(y)):
        stepper.step(run, None, y[t])


def joined(it, x):
    """Steps before sequences, inputs side by side."""
    x = np.concatenate(list(x.values()), 2) if isinstance(x, dict) else x
    return np.ascontiguousarray(x.swapaxes(0, 1))


def simulated(it, p, x, batch, state=None):
    stepper = it.stepper(p, batch)
    run, y = stepper.start(state), np.zeros((x.shape[0], batch, stepper.outputs), p.dtype)
    simulate(stepper, run, x, y)
    return stepper, run, y


@pytest.mark.parametrize("dtype, batch", [("float64", 3), ("float32", 1)])
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_steps_have_the_bits_of_a_stream(name, dtype, batch):
    it = NETWORKS[name]
    e = example(it, batch=batch, time=5, dtype=dtype)
    steps = joined(it, e.x)
    stepper, run, y = simulated(it, e.params, steps, batch, e.state)
    stream = it.stream(e.params, batch, e.state)
    for t in range(5):
        one = {k: v[:, t] for k, v in e.x.items()} if isinstance(e.x, dict) else e.x[:, t]
        same_bits(f"y at step {t}", y[t], stream.step(one))
    same_bits("state", stepper.state(run), stream.state)
    assert stepper.state_size == sum(v.size for v in e.state.values()) <= stepper.size == run.size
    assert list(stepper.inputs) == list(it.sizes)


@pytest.mark.parametrize("cell", rn.cells)
def test_every_cell_in_compiled_code(cell):
    one = rn.Network(rn.cells[cell](7), inputs=3)
    e = example(one, batch=2, dtype="float64")
    y = simulated(one, e.params, joined(one, e.x), 2, e.state)[2]
    np.testing.assert_allclose(y.swapaxes(0, 1), one(e.params, e.x, state=e.state)[0], rtol=1e-12)


def test_without_inputs():
    free = rn.Network(swing(4), inputs=None, initial_state="learned")
    p = free.init(seed=1)
    p["h0"][:] = 0.4
    stepper, y = free.stepper(p), np.zeros((3, 4), "float32")
    drift(stepper, stepper.start(), y)
    np.testing.assert_allclose(y, free(p, steps=3)[0][0], rtol=1e-6)


def test_a_loop_closed_by_the_user():
    """The output is the next input: nothing but compiled code sees it."""

    @numba.njit
    def feed(stepper, run, x, y, steps):
        for _ in range(steps):
            x[:] = stepper.step(run, x, y)

    it = rn.Network(stress.gated(6), inputs=2, outputs=2)
    p = it.init(seed=3, dtype="float64")
    stepper, now, y = it.stepper(p), np.ones(2), np.zeros(2)
    feed(stepper, stepper.start(), now, y, 10)
    want, state = np.ones((1, 1, 2)), None
    for _ in range(10):
        want, state = it(p, want, state=state)
    np.testing.assert_allclose(now, want[0, 0], rtol=1e-12)


def test_a_copy_of_a_run_goes_its_own_way():
    stepper = net.stepper(params, 2)
    run, y, steps = stepper.start(), np.zeros((2, 2)), joined(net, x)
    stepper.step(run, steps[0], y)
    other, short = run.copy(), stepper.start()
    short[: stepper.state_size] = run[: stepper.state_size]
    results = [stepper.step(r, steps[1], np.zeros((2, 2))) for r in (run, other, short)]
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])
    stepper.state(run)["1.h"][:] = 0.5
    assert not np.array_equal(stepper.step(run, steps[2], y), stepper.step(other, steps[2], y.copy()))


def test_threads_at_once_each_with_a_run():
    it, p = NETWORKS["plain"], NETWORKS["plain"].init(dtype="float64")
    steps = np.random.default_rng(0).standard_normal((20000, 1, 3))
    stepper, want, _ = simulated(it, p, steps, 1)
    want, runs = stepper.state(want)["h"].copy(), [stepper.start() for _ in range(4)]
    threads = [threading.Thread(target=simulate, args=(stepper, r, steps, np.zeros((len(steps), 1, 5)))) for r in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        np.testing.assert_array_equal(stepper.state(run)["h"], want)


def test_a_parallel_loop():
    @numba.njit(parallel=True)
    def every(stepper, runs, x, y):
        for b in numba.prange(len(runs)):
            for t in range(x.shape[1]):
                stepper.step(runs[b], x[b, t], y[b, t])

    p = params.astype("float32")
    stepper, given = net.stepper(p), x.astype("float32")
    runs, y = np.stack([stepper.start(), stepper.start()]), np.zeros((2, 6, 2), "float32")
    every(stepper, runs, given, y)
    np.testing.assert_allclose(y, net(p, given)[0], atol=1e-6)


def test_a_global_stepper_is_frozen_and_lives_on():
    holder = {"stepper": net.stepper(params)}
    stepper = holder["stepper"]

    @numba.njit
    def one(run, x, y):
        return stepper.step(run, x, y)

    run, start = stepper.start(), np.zeros(2)
    first = one(run, x[0, 0], start).copy()
    np.testing.assert_allclose(first, net(params, x[:1, :1])[0][0, 0], rtol=1e-12)


CACHED = """
import sys
import numba, numpy as np, rnncore as rn

@numba.njit(cache=True)
def simulate(stepper, run, x, y):
    for t in range(len(x)):
        stepper.step(run, x[t], y[t])

net = rn.Network(rn.cells.vanilla(4), inputs=3)
held = [np.zeros(int(sys.argv[1])), net.stepper(net.init(seed=5))]
stepper, x, y = net.stepper(net.init(seed=int(sys.argv[1]))), np.ones((5, 3), "float32"), np.zeros((5, 4), "float32")
simulate(stepper, stepper.start(), x, y)
assert np.allclose(y, net(net.init(seed=int(sys.argv[1])), x[None])[0][0], atol=1e-6)
print(sum(simulate.stats.cache_hits.values()))
"""


def test_users_code_is_cached_from_process_to_process(tmp_path):
    (tmp_path / "user.py").write_text(textwrap.dedent(CACHED))
    hits = []
    for seed in ("1", "2"):
        done = subprocess.run([sys.executable, "user.py", seed], cwd=tmp_path, capture_output=True, text=True)
        assert not done.returncode, done.stderr
        hits.append(int(done.stdout))
    assert hits == [0, 1]


def test_a_stepper_is_pickled_with_its_weights():
    stepper = net.stepper(params, 2)
    again, step = pickle.loads(pickle.dumps(stepper)), joined(net, x)[0]
    got, want = (s.step(s.start(), step, np.zeros((2, 2))) for s in (again, stepper))
    np.testing.assert_array_equal(got, want)
    assert "batch 2, float64" in repr(again)


@pytest.mark.parametrize("size, of", [(2, "x"), (3, "y"), (5, "run")])
def test_compiled_code_refuses_wrong_sizes(size, of):
    stepper = net.stepper(params)
    given = {"run": stepper.start(), "x": np.zeros(3), "y": np.zeros(2), of: np.zeros(size)}
    with pytest.raises(ValueError, match=f"^{of} "):
        simulate(stepper, given["run"], given["x"][None], given["y"][None])


@pytest.mark.parametrize("of, wrong", [
    ("x", np.zeros((1, 3), "float32")), ("y", np.zeros((1, 2), "float32")), ("x", np.zeros((1, 6))[:, ::2]),
    ("x", np.zeros((1, 3), int)),
])  # fmt: skip
def test_numba_says_what_kind_of_array_is_wanted(of, wrong):
    stepper = net.stepper(params)
    given = {"x": np.zeros((1, 3)), "y": np.zeros((1, 2)), of: wrong}
    with pytest.raises(numba.TypingError, match=rf"{of} of a stepper's step must be a .*C-contiguous float64 array"):
        simulate(stepper, stepper.start(), given["x"], given["y"])


def test_tokens_are_checked_before_anything_is_written():
    it = NETWORKS["tokens"]
    stepper = it.stepper(it.init(), 2)
    run = stepper.start({path: np.full((2, *s), 0.5) for path, s in it.state_shapes.items()})
    before, y = stepper.state(run)["0.h"].copy(), np.zeros((1, 2, 5), "float32")
    with pytest.raises(ValueError, match="token is out of range"):
        simulate(stepper, run, np.array([[1, 5]]), y)
    with pytest.raises(InputError, match=r"tokens must lie in 0..4, got \[1 5\]"):
        stepper.step(run, np.array([1, 5]), y[0])
    np.testing.assert_array_equal(stepper.state(run)["0.h"], before)


def test_what_has_no_stepper():
    both = rn.Network(stress.both_ways(stress.gated(4)), inputs=3)
    with pytest.raises(InputError, match="reads backward in time cannot be stepped through"):
        both.stepper(both.init())
    with pytest.raises(InputError, match="batch must be a positive integer, got 0"):
        net.stepper(params, 0)
    stepper = net.stepper(params)
    with pytest.raises(InputError, match="x must be a C-contiguous float64 array of 3 numbers, got float64 of"):
        stepper.step(stepper.start(), np.zeros(2), np.zeros(2))
    with pytest.raises(InputError, match="y must be a C-contiguous float64 array of 2 numbers, got list"):
        stepper.step(stepper.start(), np.zeros(3), [0.0, 0.0])
    with pytest.raises(InputError, match="state 'z' is unknown"):
        stepper.start({"z": np.zeros((1, 4))})
