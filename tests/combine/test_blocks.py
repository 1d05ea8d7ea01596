"""The combinators: paths, sizes, and what they refuse."""

import pytest
import stress

import rnncore as rn
from rnncore.combine import Chain, Join, Loop, Reverse, as_block, chain, join, loop, reverse, topology
from rnncore.combine.blocks import reads_backward
from rnncore.errors import InputError
from rnncore.testing import check_gradients, check_kernel, check_lengths

layer = stress.simple(4)


def test_a_block_is_a_value():
    block = chain(join(forward=layer, backward=reverse(layer)), layer, residual=False)
    assert block == chain(join(forward=layer, backward=reverse(layer)), layer) and len({block, block}) == 1
    assert isinstance(block, Chain) and isinstance(block.blocks[0], Join) and isinstance(block.blocks[1], Loop)
    assert isinstance(block.blocks[0].blocks[1], Reverse)


def test_paths_and_sizes():
    block = chain(join(left=layer, right=chain(layer, stress.simple(2))), stress.memory(3))
    walked = {prefix: (found.units, sizes["x"]) for prefix, found, sizes in block.walk("", {"x": 7})}
    assert walked == {"0.left.": (4, 7), "0.right.0.": (4, 7), "0.right.1.": (2, 4), "1.": (3, 6)}
    assert block.features({"x": 7}) == 3 and block.blocks[0].features({"x": 7}) == 6
    assert join("sum", a=layer, b=layer).features({"x": 7}) == 4
    assert reverse(layer).features({"x": 7}) == 4
    assert Loop(stress.lstmp(5)).features({"x": 7}) == 5 and Loop(stress.state_space(5)).features({"x": 7}) == 4


@pytest.mark.parametrize("build, words", [
    (lambda: loop(3), "a loop needs a layer such as a cell called with its units, got int"),
    (lambda: loop(stress.simple), "got Cell"),
    (lambda: chain(), "a chain needs at least one block, got none"),
    (lambda: chain(layer, dropout=1.0), r"dropout must lie in \[0, 1\), got 1.0"),
    (lambda: chain(layer, dropout=-0.1), r"dropout must lie in \[0, 1\)"),
    (lambda: chain(layer, "layer"), "layers and topologies, got str"),
    (lambda: join("max", a=layer), "merge must be 'concat', 'sum' or 'mean', got 'max'"),
    (lambda: join(a=3), "layers and topologies, got int"),
    (lambda: reverse(None), "layers and topologies, got NoneType"),
    (lambda: join("sum", a=layer, b=stress.simple(5)).features({"x": 1}), "needs outputs of equal size, got"),
    (lambda: chain(layer, stress.simple(5), residual=True).features({"x": 1}), "block 1 reads 4 features and gives 5"),
])  # fmt: skip
def test_impossible_blocks(build, words):
    with pytest.raises(InputError, match=words):
        build()


def test_what_reads_backward():
    assert reads_backward(chain(layer, join(a=layer, b=reverse(layer)))) and reads_backward(reverse(chain(layer)))
    assert not reads_backward(chain(layer, join(a=layer, b=chain(layer))))


@topology
def thrice(a, b, c, *, merge="concat"):
    """Three blocks beside one another, one of them twice backward, which is forward."""
    return join(merge, left=a, middle=reverse(reverse(b)), right=reverse(chain(c, c, residual=True)))


@topology
def nothing(a):
    return None


@pytest.mark.parametrize("options", [{}, {"mode": "many-to-one"}, {"outputs": 2, "initial_state": "learned"}])
@pytest.mark.parametrize("merge", ["concat", "mean"])
def test_a_topology_of_ones_own(merge, options):
    net = rn.Network(thrice(stress.gated(3), stress.memory(3), stress.simple(3), merge=merge), inputs=3, **options)
    assert {p.split(".")[0] for p in net.state_shapes} == {"left", "middle", "right"}
    for check in (check_kernel, check_gradients, check_lengths):
        check(net)


def test_twice_backward_is_forward():
    import numpy as np

    plain = rn.Network(stress.gated(3), inputs=2)

    @topology
    def there_and_back(a):
        return reverse(reverse(a))

    turned = rn.Network(there_and_back(stress.gated(3)), inputs=2)
    params, x = plain.init(), np.random.default_rng(0).standard_normal((3, 5, 2))
    np.testing.assert_array_equal(turned(params, x, lengths=[5, 0, 2])[0], plain(params, x, lengths=[5, 0, 2])[0])


@pytest.mark.parametrize("build, words", [
    (lambda: thrice(layer, layer), "missing a required argument: 'c'; got 2 blocks"),
    (lambda: thrice(layer, layer, layer, layer), "too many positional arguments; got 4 blocks"),
    (lambda: thrice(layer, layer, 3), "topology 'thrice' arranges layers and other topologies, got int: 3"),
    (lambda: thrice(layer, layer, stress.simple), "got Cell"),
    (lambda: thrice(layer, layer, layer, merges="sum"), "no option 'merges'; its options are: merge"),
    (lambda: thrice(layer, layer, layer, merge="max"), "merge must be"),
    (lambda: nothing(layer), "topology 'nothing' must return a block of rnncore.combine, got NoneType"),
])  # fmt: skip
def test_impossible_arrangements(build, words):
    with pytest.raises(InputError, match=words):
        build()


def test_an_arrangement_is_a_printable_value():
    a, b = stress.both_ways(layer, merge="sum"), stress.both_ways(layer, merge="sum")
    assert a == b != stress.both_ways(layer) and hash(a) == hash(b)
    assert repr(stress.stacked(a, layer)) == "stacked(both_ways(simple(4), merge='sum'), simple(4))"
    assert isinstance(as_block(a), Join) and a.options == {"merge": "sum"}
    assert a.describe()["graph"] != stress.both_ways(layer).describe()["graph"]
