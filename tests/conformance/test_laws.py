"""Every law over everything registered, cells x topologies, and over the stress cells."""

import inspect

import pytest
import stress

import rnncore as rn
from rnncore import testing
from rnncore.lang import cell, exp

# what an option chooses where it changes the equations; a cell or topology that is not here is taken with its defaults
CELL_OPTIONS = {
    "gru": [{}, {"reset": "after"}],
    "lstm": [{}, {"peephole": "diagonal"}, {"peephole": "full"}],
    "vanilla": [{}, {"activation": "relu"}, {"activation": "sigmoid"}, {"activation": "identity"}],
}
TOPOLOGY_OPTIONS = {
    "bidirectional": [{}, {"merge": "sum"}, {"merge": "mean"}],
    "deep": [{}, {"residual": True}, {"dropout": 0.4}],
    "feedback": [{"edges": ((1, 0), (0, 0))}],
    "jordan": [{"outputs": 3, "activation": "tanh"}],
}
FINAL = {"mode": "many-to-one", "outputs": 3, "initial_state": "learned"}
LAYERS_ONLY = ("elman", "feedback", "jordan")  # topologies that take no other topology
DECODERS = ("encoder_decoder",)  # they write in lengths of their own: test_decoders.py
SMALLEST = {"ln_lstm": 7}  # normalising one or two units leaves a sign: gradients are what cancellation leaves
SIZES = (1, 2, 7, 16, 17, 31)


def registered_cells():
    found = {}
    for name in rn.cells:
        for options in CELL_OPTIONS.get(name, [{}]):
            label = "-".join([name, *map(str, options.values())])
            found[label] = lambda n, name=name, options=options: rn.cells[name](n, **options)
    return found


def blocks_of(topology, n):
    """Layers for a topology: what it takes, two where it takes any number."""
    parameters = inspect.signature(topology.fn).parameters.values()
    fixed = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    many = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return [stress.gated(n) if k % 2 else stress.simple(n) for k in range(fixed + 2 * many)]


def registered_topologies():
    found = {}
    for name in (t for t in rn.topologies if t not in DECODERS):
        for options in TOPOLOGY_OPTIONS.get(name, [{}]):
            label = "-".join([name, *map(str, options)])
            found[label] = lambda n, name=name, options=options: rn.topologies[name](
                *blocks_of(rn.topologies[name], n), **options
            )
    return found


def network(make, n=7, inputs=3, **options):
    arranged = make(n)
    if owns_readout(arranged):
        options.pop("outputs", None)
    return rn.Network(arranged, inputs=inputs, **options)


def owns_readout(arranged):
    """Whether a topology has an option for the size of a readout of its own."""
    return "outputs" in getattr(arranged, "options", {})


def stress_network(name, units=7):
    return network(stress.CELLS[name], stress.UNITS.get(name, units), stress.INPUTS.get(name, 3))


CELLS, TOPOLOGIES = registered_cells(), registered_topologies()
DESCRIBED = (testing.check_json, testing.check_pickle)
LAWS = [c for c in testing.CHECKS if c not in (testing.check_kernel, *DESCRIBED)]
EVERYWHERE = (testing.check_kernel, testing.check_gradients, testing.check_lengths, testing.check_chunks,
              testing.check_inputs_untouched, testing.check_directions, testing.check_curvature)  # fmt: skip
laws = pytest.mark.parametrize("check", LAWS, ids=lambda c: c.__name__)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@dtypes
@pytest.mark.parametrize("cell", CELLS)
def test_a_registered_cell_agrees_with_the_reference_at_every_size(cell, dtype):
    for k, n in enumerate(SIZES):
        testing.check_kernel(network(CELLS[cell], n, inputs=SIZES[-1 - k]), dtype=dtype, batch=1 + k % 5, seed=k)


@laws
@pytest.mark.parametrize("cell", CELLS)
def test_a_registered_cell_obeys(cell, check):
    check(network(CELLS[cell], 17))


@pytest.mark.parametrize("check", DESCRIBED, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", [*CELLS, *TOPOLOGIES])
def test_a_registered_component_is_described(name, check, own_registry):
    rn.register(stress)
    make = CELLS.get(name) or TOPOLOGIES[name]
    check(network(make))
    check(network(make, **FINAL))


@pytest.mark.parametrize("check", [testing.check_kernel, *LAWS], ids=lambda c: c.__name__)
@pytest.mark.parametrize("options", [{}, FINAL], ids=["many-to-many", "many-to-one"])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_registered_topology_obeys(topology, options, check):
    check(network(TOPOLOGIES[topology], 5, **options))


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_in_every_topology(cell, topology):
    made = rn.topologies[topology.split("-")[0]]
    layers = [CELLS[cell](6) for _ in blocks_of(made, 6)]
    options = dict(TOPOLOGIES[topology](6).items)
    net = network(lambda n: made(*layers, **options), inputs=2, outputs=2)
    for check in EVERYWHERE:
        check(net)


@pytest.mark.parametrize("outer", [t for t in TOPOLOGIES if t.split("-")[0] not in LAYERS_ONLY])
@pytest.mark.parametrize("inner", TOPOLOGIES)
def test_topologies_nest(inner, outer):
    made = rn.topologies[outer.split("-")[0]]
    blocks = [TOPOLOGIES[inner](4) for _ in blocks_of(made, 4)]
    arranged = made(*blocks, **dict(TOPOLOGIES[outer](4).items))
    for options in ({}, {"mode": "many-to-one"}):
        net = rn.Network(arranged, inputs=3, **options)
        testing.check_kernel(net)
        testing.check_lengths(net)


@dtypes
@pytest.mark.parametrize("name", stress.STRESS)
def test_a_stress_cell_agrees_with_the_reference_at_every_size(name, dtype):
    for k, n in enumerate(n for n in SIZES if n >= SMALLEST.get(name, 1)):
        testing.check_kernel(stress_network(name, n), dtype=dtype, batch=2 + k % 5, seed=k)


@pytest.mark.parametrize("check", DESCRIBED, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", stress.STRESS)
def test_a_stress_cell_is_described(name, check, own_registry):
    rn.register(stress)
    check(stress_network(name))


@laws
@pytest.mark.parametrize("name", stress.STRESS)
def test_a_stress_cell_obeys(name, check):
    check(stress_network(name, 17))


@pytest.mark.parametrize("name", ["gru_d", "lstmp", "state_space", "slstm"])
def test_a_stress_cell_in_two_directions_and_two_layers(name):
    layer = stress.CELLS[name](6)
    inputs = stress.INPUTS.get(name, 6)
    twice = stress.stacked(stress.both_ways(layer, merge="sum"), layer) if name != "gru_d" else stress.both_ways(layer)
    for options in ({}, FINAL):
        net = rn.Network(twice, inputs=inputs, **options)
        testing.check_kernel(net)
        testing.check_gradients(net)
        testing.check_lengths(net)


@dtypes
def test_tokens_agree_with_the_reference(dtype):
    for n in SIZES:
        net = rn.Network(stress.both_ways(stress.gated(n)), inputs=rn.Tokens(11), outputs=4)
        testing.check_kernel(net, dtype=dtype, seed=n)


@pytest.mark.parametrize("check", LAWS, ids=lambda c: c.__name__)
def test_tokens_obey(check):
    check(rn.Network(stress.memory(9), inputs=rn.Tokens(5), initial_state="learned"))


@dtypes
@pytest.mark.parametrize("batch, time", [(1, 1), (1, 300), (70, 3), (33, 41)])
def test_the_shape_of_the_batch_does_not_matter(batch, time, dtype):
    testing.check_kernel(network(stress.gated, 13, 5), dtype=dtype, batch=batch, time=time)


def test_a_large_layer_whose_products_are_split_into_panels():
    testing.check_kernel(network(stress.memory, 131, 67), dtype="float32", batch=9, time=5)


@cell
def decaying(w, x, h):
    """A sum of products, of which the training pass keeps one: that may round where a call does not."""
    return 0.5 * h - (0.3 * w.a(x) - exp(-h))


def test_a_call_and_a_training_pass_may_round_otherwise():
    testing.check_lengths(rn.Network(decaying(7), inputs=2))
