"""The plan: what leaves the loop, what shares a product, how many waves a step has, what is kept for BPTT."""

import pytest
import stress

from rnncore.errors import LanguageError
from rnncore.lang import cell, mapped, sigmoid, sum, tanh
from rnncore.lang.trace import trace
from rnncore.plan.describe import describe_plan
from rnncore.plan.kernels import plan_of

INFER = """\
t = 0 .. T-1, states h
  before a chunk: [z0, z2, z1] = [W_xz W_xr W_xn] [x]
  wave 1: [z0, z2] += [W_hz W_hr] [h]
  wave 1: work a3 <- v3
  wave 1: work k4 <- z
  wave 1: work k5 <- v8
  wave 2: [z1] += [W_hn] [v3]
  wave 2: next h <- v12
  wave 2: out y <- v12"""


def plan(component, which="forward", **options):
    return plan_of(component.step(**options), which)


def matrices(products):
    """Names of the matrices of each product, in the order of its slots."""
    return [[m.attrs[1] for m, _ in p.blocks.values()] for p in products]


def test_the_print_of_a_plan():
    assert describe_plan(plan(stress.gated, "infer")) == INFER


@pytest.mark.parametrize("name, waves", [
    ("simple", 1), ("memory", 1), ("gated", 2), ("rhn", 3), ("lem", 2), ("slstm", 1), ("lstmp", 2), ("gru_d", 2),
    ("indrnn", 0), ("state_space", 1),
])  # fmt: skip
def test_a_step_has_as_many_waves_as_products_that_wait_for_one_another(name, waves):
    made = plan(stress.CELLS[name])
    assert len([w for w in made.waves if w]) == waves


def test_every_input_product_leaves_the_loop_as_one():
    made = plan(stress.memory)
    assert len(made.hoisted) == 1 and {m for row in matrices(made.hoisted) for m in row} == {f"W_x{g}" for g in "ifog"}
    assert all(p.operands[0].attrs == ("input", "x") for p in made.hoisted)


def test_gates_that_are_ready_together_share_one_product():
    (wave,) = [w for w in plan(stress.memory).waves if w]
    assert len(wave) == 1 and {m for row in matrices(wave) for m in row} == {f"W_h{g}" for g in "ifog"}
    first, second = [w for w in plan(stress.gated).waves if w]
    assert {m for row in matrices(first) for m in row} == {"W_hz", "W_hr"} and matrices(second) == [["W_hn"]]


def test_an_input_that_the_cell_computes_with_stays_in_the_loop():
    made = plan(stress.gru_d)
    hoisted = {m for row in matrices(made.hoisted) for m in row}
    assert hoisted == {"W_mz", "W_mr", "W_mn", "W_dte"}


def test_inference_keeps_nothing():
    made = plan(stress.memory, "infer")
    assert not made.saved and not made.history and not made.sums


def test_bptt_keeps_what_is_costly_to_compute_again():
    made = plan(stress.memory)
    assert len(made.saved) == 5  # i, f, o, g and tanh(c)
    assert made.history == ("h", "c")
    assert set(plan(stress.indrnn).saved.values()) == {"units"} and plan(stress.indrnn).history == ("h",)


def test_a_scalar_is_kept_as_one_number():
    @cell
    def fn(w, x, h):
        s = sigmoid(sum(w.a(x, h)))
        return s * tanh(w.b(x, h))

    assert 1 in plan(fn).saved.values()


def test_every_parameter_has_its_gradient_summed_over_chunks():
    for name, component in stress.CELLS.items():
        made = plan(component, "backward")
        summed = {total.name for total in made.sums}
        direct = {p.name for p in component.step().params} & summed
        assert made.reverse and len(summed) >= len(direct) > 0, name
        for total in made.sums:
            assert bool(total.pairs) != (total.value is not None), name


def test_a_matrix_of_a_whole_step_is_never_made():
    """Gradients of matrices are pairs of vectors, multiplied once a chunk."""
    for component in stress.CELLS.values():
        made = plan(component, "backward")
        assert all(len(node.shape) < 2 for store in made.stores for node in [store.node])
        assert all(len(a.shape) == len(b.shape) == 1 for total in made.sums for a, b in total.pairs)


def test_what_only_leaves_the_step_is_multiplied_after_the_chunk():
    made = plan(stress.memory, "backward")
    (product,) = made.post
    assert product.slots[0].out == "d.x"
    assert {m for row in matrices(made.post) for m in row} == {f"W_x{g}" for g in "ifog"}


def test_every_value_is_stored_before_another_wave_reads_it():
    for component in stress.CELLS.values():
        for which in ("infer", "forward", "backward"):
            made = plan(component, which)
            for wave, products in enumerate(made.waves):
                for product in products:
                    for operand in product.operands:
                        assert operand.id in made.place
                        assert made.ready[operand.id][0] < wave or operand.op == "leaf"


def test_a_matrix_that_changes_at_every_step_is_told_at_its_line():
    def fn(w, x, h):
        return tanh(w.h(x, mapped(h, lambda W: W * sum(h))))

    with pytest.raises(LanguageError) as caught:
        trace(fn, {})
    assert caught.value.filename == __file__ and caught.value.lineno == fn.__code__.co_firstlineno + 1
