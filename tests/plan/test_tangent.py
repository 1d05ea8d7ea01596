"""The tangent of a step is a step: its parts, its names, its reverse."""

import pytest
import stress

import rnncore as rn
from rnncore.errors import LanguageError
from rnncore.lang import cell, tanh
from rnncore.plan.adjoint import adjoint_of
from rnncore.plan.tangent import dotted, tangent_of
from rnncore.testing import check_kernel


def test_states_parameters_and_moved_inputs_come_twice():
    step = stress.memory.step()
    both = tangent_of(step, frozenset({"x"}))
    assert both.states == ("h", "c", dotted("h"), dotted("c"))
    assert both.inputs == ("x", dotted("x"))
    assert [p.name for p in both.params] == [p.name for p in step.params] + [dotted(p.name) for p in step.params]
    assert both.extras == both.seeded == (dotted("y"),) and both.output_state == "h"
    assert all(both.dims[dotted(s)] == step.dims[s] for s in step.states)


def test_what_does_not_move_comes_once():
    both = tangent_of(stress.memory.step(), frozenset(), params=False)
    assert both.inputs == ("x",) and both.params == stress.memory.step().params


def test_its_reverse_reaches_values_and_directions():
    both = tangent_of(stress.gated.step(), frozenset({"x"}))
    roots = adjoint_of(both).roots
    assert {k for k in roots if k.startswith("d.")} == {"d.h", "d.x", f"d.{dotted('h')}", f"d.{dotted('x')}"}
    assert {k[2:] for k in roots if k.startswith("p.")} == {p.name for p in both.params}


def test_a_state_that_does_not_move_has_a_direction_of_zeros():
    @cell
    def still(w, x, h, k):
        return tanh(w.h(x, h)), 0.0 * x

    node = tangent_of(still.step(), frozenset()).roots["next." + dotted("k")]
    assert node.op == "spread" and node.args[0].value == 0 and node.shape == ("x",)


def test_it_is_made_once_and_leaves_the_step_as_it_was():
    net = rn.Network(stress.fastgrnn(6), inputs=3)  # what its two reverses keep differs in size
    tangent = tangent_of(net.layer.step, frozenset())
    assert tangent is tangent_of(net.layer.step, frozenset()) and tangent.graph is not net.layer.step.graph
    adjoint_of(tangent)
    check_kernel(net)


def test_names_of_directions_are_not_free():
    @cell
    def clash(w, x, h, h__dot):
        return tanh(w.h(x, h)), h__dot

    with pytest.raises(LanguageError, match="names that end in '__dot' are kept for directions; rename 'h__dot'"):
        tangent_of(clash.step(), frozenset())
