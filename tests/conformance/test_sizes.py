"""Sizes nobody chose: random units, inputs, batches and times, in random arrangements."""

import stress
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore as rn
from rnncore.testing import check_chunks, check_kernel, check_lengths

CELLS = ["simple", "gated", "memory", "lstmp", "slstm", "state_space"]
sizes = st.integers(1, 150)


def arranged(draw, depth=0):
    kind = draw(st.sampled_from(["layer", "both_ways", "stacked"] if depth < 2 else ["layer"]))
    if kind == "layer":
        return stress.CELLS[draw(st.sampled_from(CELLS))](draw(st.integers(1, 40)))
    if kind == "both_ways":
        return stress.both_ways(arranged(draw, depth + 1), merge=draw(st.sampled_from(["concat", "sum", "mean"])))
    return stress.stacked(*[arranged(draw, depth + 1) for _ in range(draw(st.integers(1, 3)))])


@st.composite
def networks(draw):
    block, many_to_one = arranged(draw), draw(st.booleans())
    return rn.Network(
        block,
        inputs=draw(st.one_of(st.integers(1, 40), st.integers(1, 20).map(rn.Tokens))),
        outputs=draw(st.none() | st.integers(1, 20)),
        mode="many-to-one" if many_to_one else "many-to-many",
        initial_state=draw(st.sampled_from(["zero", "learned"])),
    )


@settings(max_examples=30)
@given(
    name=st.sampled_from(CELLS), units=sizes, inputs=sizes, batch=st.integers(1, 40), time=st.integers(1, 40),
    seed=st.integers(0, 2**20),
)  # fmt: skip
def test_a_layer_of_any_size(name, units, inputs, batch, time, seed):
    # the gradient of a few numbers may be what cancellation leaves: in float32 that is less than the bound asks for
    dtype = "float32" if min(units, inputs) > 8 and seed % 2 else "float64"
    check_kernel(rn.Network(stress.CELLS[name](units), inputs=inputs), dtype=dtype, batch=batch, time=time, seed=seed)


@settings(max_examples=60)
@given(net=networks(), batch=st.integers(1, 9), time=st.integers(1, 12), seed=st.integers(0, 2**20))
def test_any_arrangement(net, batch, time, seed):
    check_kernel(net, batch=batch, time=time, seed=seed)


@settings(max_examples=40)
@given(net=networks())
def test_any_arrangement_keeps_lengths_and_chunks(net):
    check_lengths(net)
    check_chunks(net)
