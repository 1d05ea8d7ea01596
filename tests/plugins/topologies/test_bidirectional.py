"""Two directions."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import InputError
from rnncore.testing import close

x, lengths = np.random.default_rng(0).standard_normal((4, 5, 3)), np.array([5, 2, 0, 1])


@pytest.mark.parametrize("merge", ["concat", "sum", "mean"])
@pytest.mark.parametrize("mode", ["many-to-many", "many-to-one"])
def test_the_second_direction_reads_each_sequence_from_its_end(merge, mode):
    layer = rn.cells.gru(4)
    net, single = (rn.Network(a, inputs=3, mode=mode) for a in (rn.topologies.bidirectional(layer, merge=merge), layer))
    params = net.init(seed=1, dtype="float64")
    ahead, back = (rn.Params(single.shapes, part) for part in np.split(params.flat, 2))
    y = net(params, x, lengths=lengths)[0]
    for b, n in enumerate(lengths):
        one, other = (single(p, s[None])[0][0] for p, s in ((ahead, x[b, :n]), (back, x[b, :n][::-1])))
        other = other if mode == "many-to-one" else other[::-1]
        want = {"concat": np.concatenate([one, other], -1), "sum": one + other, "mean": (one + other) / 2}[merge]
        close(f"sequence {b}", y[b] if mode == "many-to-one" else y[b, :n], want, 1e-13)


def test_an_unknown_merge_is_an_error():
    with pytest.raises(InputError, match="merge must be 'concat', 'sum' or 'mean', got 'product'"):
        rn.topologies.bidirectional(rn.cells.gru(4), merge="product")
