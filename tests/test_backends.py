"""Everything above the kernels, on a device whose arrays never meet the host's: the same bits, and nothing moved."""

import inspect

import mirror
import numpy as np
import pytest
import stress

import rnncore as rn
import rnncore.backends as backends
from rnncore import testing
from rnncore.cuda import standin


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setitem(backends._loaded, "cuda", mirror.backend)
    mirror.moved.count = 0


def there(value):
    """Arrays on the device."""
    if isinstance(value, np.ndarray):
        return standin.asarray(value)
    if isinstance(value, dict):
        return {name: there(part) for name, part in value.items()}
    return [there(part) for part in value] if isinstance(value, list) else value


def here(value):
    """And back, all of them: a host array among them is a mistake."""
    if isinstance(value, standin.ndarray):
        return value.host
    if isinstance(value, rn.Params):
        assert value.device == "cuda"
        return value.flat.host
    assert not isinstance(value, np.ndarray), "an array on the host"
    if isinstance(value, dict):
        return {name: here(part) for name, part in value.items()}
    return type(value)(map(here, value)) if isinstance(value, (list, tuple)) else value


def decoder(attend="before", scorer=None, **options):
    encoder = stress.both_ways(stress.gated(3))
    options = {"feedback": "softmax", "input_feeding": attend == "after", **options}
    layer = rn.topologies.encoder_decoder(encoder, stress.memory(5), outputs=4, scorer=scorer, attend=attend, **options)
    return rn.Network(layer, inputs=3)


NETS = {
    "plain": rn.Network(stress.gated(5), inputs=3),
    "learned": rn.Network(stress.memory(4), inputs=3, outputs=2, initial_state="learned"),
    "final": rn.Network(stress.both_ways(stress.simple(4)), inputs=3, outputs=2, mode="many-to-one"),
    "apart": rn.Network(stress.state_space(3), inputs=3, mode="many-to-one"),
    "stacked": rn.Network(stress.stacked(stress.gated(4), stress.simple(4), dropout=0.4, residual=True), inputs=3),
    "residual end": rn.Network(
        stress.stacked(stress.gated(4), stress.simple(4), residual=True), inputs=3, mode="many-to-one"
    ),
    "mean": rn.Network(stress.both_ways(stress.gated(4), merge="mean"), inputs=3, outputs=2),
    "two inputs": rn.Network(stress.both_ways(stress.stacked(stress.elapsed(3), stress.elapsed(2))),
                             inputs={"x": 3, "dt": 1}),
    "mapped": rn.Network(stress.antisymmetric(4), inputs=3),
    "tokens": rn.Network(stress.stacked(stress.both_ways(stress.gated(3)), stress.simple(4)), inputs=rn.Tokens(6),
                         outputs=6),
    "one to many": rn.Network(stress.gated(4), inputs=3, outputs=2, mode="one-to-many", feed="first"),
    "bridge": rn.Network(rn.topologies.jordan(stress.simple(4), outputs=3), inputs=3, mode="one-to-many", feed="every"),
    "decoder": decoder(),
    "attention": decoder("after", rn.scorers.bahdanau()),
}  # fmt: skip
WRITERS = ("decoder", "attention")


class Case:
    """Random numbers for a network, and calls with them on the CPU and on the device."""

    def __init__(self, name, dtype="float64", batch=4, time=5):
        self.net, rng = NETS[name], np.random.default_rng(3)
        self.name, self.time = name, time
        self.params = self.net.init(seed=1, dtype=dtype)
        self.params.flat[:] += 0.1 * rng.standard_normal(self.params.flat.size)
        if isinstance(self.net.inputs, rn.Tokens):
            self.x = rng.integers(0, 6, (batch, time))
        else:
            lead = (batch,) if self.net.reads_vectors else (batch, time)
            self.x = {k: rng.standard_normal((*lead, n)).astype(dtype) for k, n in self.net.sizes.items()}
            self.x = self.x if len(self.x) > 1 else self.x["x"]
        self.lengths = np.array([time, 0, 2, 3])[:batch]
        self.state = {k: rng.uniform(0.1, 0.9, (batch, *s)) for k, s in self.net.state_shapes.items()}
        if name in WRITERS:  # the encoder hands over
            self.state = {}
        shape = (batch, time, self.net.outputs or self.net.features)
        self.dy = rng.standard_normal(shape if self.net.per_step else (batch, shape[-1]))
        self.dstate = {k: rng.standard_normal((batch, *s)) for k, s in self.net.state_shapes.items()}
        self.given = {} if not self.net.counts_steps and name not in WRITERS else {"steps": time}

    def both(self, call, *arrays):
        """What a call gives on the CPU and on the device: `call(params, *arrays)`."""
        want = call(self.params, *arrays)
        params = self.params.to("cuda")
        mirror.moved.count = 0
        got = here(call(params, *map(there, arrays)))
        assert mirror.moved.count == 0, "something went over the host"
        return got, want


def on_cpu(value):
    """Params as their vector, as `here` gives them."""
    if isinstance(value, rn.Params):
        return value.flat
    return type(value)(map(on_cpu, value)) if isinstance(value, tuple) else value


names = pytest.mark.parametrize("name", NETS)


@names
def test_a_call_and_its_gradients(name):
    case = Case(name)
    given = {"lengths": case.lengths, "seed": 5, **case.given}

    def run(params, x, state, dy, dstate):
        called = case.net(params, x, state=state, **given)
        y, final, tape = case.net.forward(params, x, state=state, **given)
        return called, y, final, *case.net.backward(params, tape, dy, dstate=dstate)

    got, want = case.both(run, case.x, case.state, case.dy, case.dstate)
    testing.same_bits("on the device", got, on_cpu(want))
    got, want = case.both(lambda p, x: case.net(p, x, **case.given), case.x)
    testing.same_bits("full, from the start", got, want)


@names
def test_masks_and_resets(name):
    case = Case(name)
    if case.net.reads_vectors:
        pytest.skip("of sequences in step")
    rng = np.random.default_rng(0)
    given = {"mask": rng.random((4, 5)) < 0.7, "reset": rng.random((4, 5)) < 0.4}

    def run(params, x, state, dy, dstate):
        y, final, tape = case.net.forward(params, x, state=state, lengths=case.lengths, **given, **case.given)
        return y, final, *case.net.backward(params, tape, dy, dstate=dstate)

    for state in (case.state, {}):
        got, want = case.both(run, case.x, state, case.dy, case.dstate)
        testing.same_bits("on the device", got, on_cpu(want))


@names
@pytest.mark.parametrize("every", [2, "sqrt"])
def test_checkpoints(name, every):
    case = Case(name)

    def run(params, x, dy):
        y, final, tape = case.net.forward(params, x, lengths=case.lengths, checkpoint=every, **case.given)
        return y, final, *case.net.backward(params, tape, dy)

    got, want = case.both(run, case.x, case.dy)
    testing.same_bits("on the device", got, on_cpu(want))


@pytest.mark.parametrize("name", ["plain", "tokens", "two inputs"])
def test_lists(name):
    case = Case(name)

    def cut(v):
        return [v[b, :n] for b, n in enumerate(case.lengths)]

    x = {k: cut(v) for k, v in case.x.items()} if isinstance(case.x, dict) else cut(case.x)

    def run(params, x, dy):
        y, final, tape = case.net.forward(params, x)
        return y, final, *case.net.backward(params, tape, dy)

    got, want = case.both(run, x, case.dy)
    testing.same_bits("on the device", got, on_cpu(want))


@names
@pytest.mark.parametrize("loss", ["squared", "entropy"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses(name, loss, reduction):
    case = Case(name)
    net, outputs = case.net, case.net.outputs or case.net.features
    rng, lead = np.random.default_rng(1), case.dy.shape[:-1]
    target = rng.integers(0, outputs, lead) if loss == "entropy" else rng.standard_normal((*lead, outputs))
    given = {"lengths": case.lengths, "loss": getattr(stress, loss)(), "reduction": reduction}
    if name not in WRITERS:
        given |= case.given
    value, grads = net.loss_and_grad(case.params, case.x, target, seed=2, **given)
    for there_too in (there(target), target):  # targets may come from the host
        got, got_grads = net.loss_and_grad(case.params.to("cuda"), there(case.x), there_too, seed=2, **given)
        assert got_grads.device == "cuda" and isinstance(got, float)
        assert abs(got - value) <= 1e-12 * abs(value)
        testing.close("gradient", got_grads.to("cpu").flat, grads.flat, 1e-12)
        again = net.loss(case.params.to("cuda"), there(case.x), there_too, **given)
        assert name == "stacked" or abs(again - value) <= 1e-12 * abs(value)


@pytest.mark.parametrize("name", ["bridge", *WRITERS])
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_teacher_forcing(name, kind):
    case = Case(name)
    net, rng = case.net, np.random.default_rng(1)
    size = net.outputs or net.features
    target = rng.integers(0, size, (4, 5)) if kind == "classes" else rng.standard_normal((4, 5, size))
    given = {"teacher_forcing": 0.5, "seed": 3}
    given |= {"target_lengths": case.lengths} if name in WRITERS else {"steps": 5, "lengths": case.lengths}

    def run(params, x, target, dy):
        y, final, tape = net.forward(params, x, target=target, **given)
        return y, final, *net.backward(params, tape, dy)

    got, want = case.both(run, case.x, target, case.dy)
    testing.same_bits("on the device", got, on_cpu(want))


@pytest.mark.parametrize("name", ["plain", "learned", "final", "apart", "stacked", "mean", "tokens", "attention"])
def test_directions(name):
    case = Case(name)
    v = case.params.with_flat(np.random.default_rng(0).standard_normal(case.params.flat.size))
    dx = None if name == "tokens" else np.ones_like(case.x)
    given = {"lengths": case.lengths, **case.given}

    def run(params, x, dx):
        return case.net.jvp(params, x, dparams=v.to(params.device), dx=dx, **given)

    got, want = case.both(run, case.x, dx)
    testing.same_bits("on the device", got, want)
    target = np.zeros_like(case.dy)
    given = {"loss": stress.squared(), "lengths": case.lengths}
    value, grads, product = case.net.hvp(case.params, case.x, target, v, **given)
    got, *vectors = case.net.hvp(case.params.to("cuda"), there(case.x), there(target), v.to("cuda"), **given)
    assert abs(got - value) <= 1e-12 * abs(value)
    for one, other in zip(vectors, (grads, product)):
        testing.close("hvp", one.to("cpu").flat, other.flat, 1e-12)


def test_attention_weights():
    case = Case("attention")
    given = {"lengths": case.lengths, **case.given}
    testing.same_bits("alpha", *case.both(lambda params, x: case.net.attention(params, x, **given), case.x))


def test_a_bound_network():
    case = Case("learned")
    testing.same_bits("bound", *case.both(lambda p, x: case.net.bind(p)(x, lengths=case.lengths), case.x))


@pytest.mark.parametrize("how", [{}, {"temperature": 0.8, "seed": 1, "top_k": 3}, {"beam": 3}])
@pytest.mark.parametrize("name", ["tokens alone", "attention"])
def test_generation(name, how):
    net = NETS["attention"] if name == "attention" else rn.Network(stress.gated(5), inputs=rn.Tokens(6), outputs=6)
    params, x = net.init(seed=2), np.array([[1, 2], [0, 5], [3, 3]])
    x = np.random.default_rng(0).standard_normal((3, 4, 3)) if name == "attention" else x
    want = rn.generate(net, params, x, steps=6, end=0, **how)
    got = rn.generate(net, params.to("cuda"), there(x), steps=6, end=0, **how)
    assert (got.tokens == want.tokens).all() and (got.lengths == want.lengths).all()
    testing.close("log-probabilities", got.log_probs, want.log_probs, 1e-6)
    testing.same_bits("state", here(got.state), want.state)


def test_a_diagnosis_is_made_on_the_host():
    case = Case("plain")
    want = rn.diagnose(case.net, case.params, case.x)
    got = rn.diagnose(case.net, case.params.to("cuda"), there(case.x))
    testing.same_bits("norms", got.gradient_norms, want.gradient_norms)


def test_what_comes_from_the_host_goes_back_to_it():
    case = Case("learned")
    params, given = case.params.to("cuda"), {"lengths": case.lengths, "state": case.state}
    want = case.net(case.params, case.x, **given)
    testing.same_bits("NumPy in, NumPy out", case.net(params, case.x, **given), want)
    y, final, tape = case.net.forward(params, case.x.tolist())
    dx, dstate, grads = case.net.backward(params, tape, case.dy)
    assert all(type(v) is np.ndarray for v in (y, dx, *final.values(), *dstate.values())) and grads.device == "cuda"
    given = {"lengths": there(case.lengths), "mask": there(np.ones((4, 5), bool)), "state": case.state}
    testing.same_bits("lengths of the device", case.net(params, case.x, **given), want)


DEVICE_LAWS = [check for check in testing.CHECKS if "device" in inspect.signature(check).parameters]


@pytest.mark.parametrize("check", DEVICE_LAWS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", ["learned", "final", "apart", "stacked", "mean", "two inputs", "mapped", "tokens"])
def test_laws(name, check):
    check(NETS[name], device="cuda")
