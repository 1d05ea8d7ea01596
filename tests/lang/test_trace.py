"""Mistakes in equations are told at the author's own line, in plain words; what tracing makes of right ones."""

import inspect
import math
import threading

import numpy as np
import pytest

import rnncore as rn
from rnncore import lang
from rnncore.errors import InputError, LanguageError
from rnncore.lang import cell, constant, diag, low_rank, mapped, mean, scalar, sigmoid, sum, tanh, where
from rnncore.lang.trace import trace


def helper(h):
    return h.size  # <- has no attribute 'size'


# every function below has one wrong line, marked with what the error must say
def if_on_a_symbol(w, x, h):
    a = w.a(x, h)
    if sum(a) > 0:  # <- cannot decide on a symbol
        return a
    return h


def a_while_loop(w, x, h):
    while sum(h) > 0:  # <- cannot decide on a symbol
        h = 0.5 * h
    return h


def and_between_symbols(w, x, h):
    return where(h > 0 and h < 1, h, 0)  # <- with & | ~ between conditions


def python_max(w, x, h):
    return max(h, w.a(x))  # <- cannot decide on a symbol


def sizes_that_differ(w, x, h):
    a = w.a(x, h, size=7)
    return tanh(a + w.b(h, size=5))  # <- sizes differ: 7 and 5


def a_state_of_another_size(w, x, h):
    a = w.a(x, h, size=3)  # <- fix the size of the state 'h' to 3
    return h + a


def a_state_of_the_inputs_size(w, x, h):
    return tanh(x + w.h(h))  # <- fix the size of the state 'h' to 2 (that of 'x')


def an_unnamed_computed_operand(w, x, h):
    r = sigmoid(w.r(x, h))
    return tanh(w.n(x, r * h))  # <- a computed operand needs a name


def an_operand_given_twice(w, x, h):
    return tanh(w.n(x, h, h=2 * h))  # <- w.n is given the operand 'h' twice


def no_return(w, x, h):
    h = tanh(w.n(x, h))  # <- returns nothing


def too_many_returns(w, x, h):
    return h, h, h  # <- returns 3 values


def too_few_returns(w, x, h, c):
    return h  # <- returns 1 values; return the new states h, c in this order


def a_dict_returned(w, x, h):
    return {"h": h}  # <- a dict cannot be part of an equation


def numpy_of_a_symbol(w, x, h):
    return np.tanh(w.n(x, h))  # <- np.tanh cannot take a symbol


def numpy_array_of_a_symbol(w, x, h):
    return np.asarray(h)  # <- a symbol is not an array


def math_of_a_symbol(w, x, h):
    return math.tanh(w.n(x, h))  # <- not those of math or numpy


def an_unknown_function(w, x, h):
    return lang.tahn(w.n(x, h))  # <- did you mean 'tanh'?


def an_undefined_name(w, x, h):
    return tanhh(w.n(x, h))  # noqa: F821  # <- 'tanhh' is not defined here


def an_error_in_the_authors_own_code(w, x, h):
    return {"a": h}["b"]  # <- KeyError: 'b'


def an_index(w, x, h):
    return h[0]  # <- a symbol cannot be indexed


def an_assignment_to_a_symbol(w, x, h):
    h[0] = 1.0  # <- a symbol cannot be written to
    return h


def a_loop_over_a_symbol(w, x, h):
    for unit in h:  # <- a symbol cannot be taken apart
        h = h + unit
    return h


def a_length(w, x, h):
    return h / len(h)  # <- size(a) stands for it


def a_remainder(w, x, h):
    return h % 2  # <- no division with remainder


def a_matrix_product(w, x, h):
    return w.W @ h  # <- `@` multiplies a fixed matrix by a vector, constant(A) @ h; an affine map is written w.name


def a_bare_array(w, x, h):
    return h + np.ones(4)  # <- wrapped: constant(array)


def a_string(w, x, h):
    return h + "1"  # <- a str cannot be part of an equation


def a_symbolic_exponent(w, x, h):
    return h**x  # <- the exponent of ** must be a number


def an_affine_map_of_nothing(w, x, h):
    return w.n()  # <- w.n() needs an operand


def a_bias_that_is_no_number(w, x, h):
    return w.n(x, h, bias="one")  # <- bias of w.n must be True, False or a number


def a_size_of_zero(w, x, h):
    return h + sum(w.n(x, h, size=0))  # <- size of w.n must be a positive integer


def a_start_given_twice(w, x, h):
    return h * w.v.init(1.0) + w.v.init(2.0)  # <- starts once as 1.0 and once as 2.0


def two_weights_of_one_name(w, x, h):
    return w.W_xn + w.n(x, h)  # <- would both be called 'W_xn'


def a_weight_of_a_bad_name(w, x, h):
    return w["2"](x, h)  # <- must be an identifier


def a_scalar_operand(w, x, h):
    return w.n(x, s=sum(h))  # <- must be a vector, got a scalar


def a_sum_of_a_scalar(w, x, h):
    return h + sum(sum(h))  # <- needs a vector, got a scalar


def a_mean_of_a_scalar(w, x, h):
    return h + mean(sum(h))  # <- over units of a vector, got a scalar


def a_matrix_among_vectors(w, x, h):
    return h + constant(np.ones((4, 4)))  # <- a vector and a matrix


def a_cube(w, x, h):
    return h + constant(np.ones((2, 2, 2)))  # <- an array of 3 axes


def a_rank_of_zero(w, x, h):
    return w.n(x, low_rank(h, 0))  # <- the rank must be a positive integer


def a_map_that_reads_the_state(w, x, h):
    return w.n(x, mapped(h, lambda W: W * sum(h)))  # <- made from the raw matrix alone


def a_map_that_gives_no_matrix(w, x, h):
    return w.n(x, mapped(h, lambda W: 3.0))  # <- must return a matrix


def a_scalar_of_a_state(w, x, h):
    return h * scalar(h)  # <- 4 units were asked for, but the equations of 'a_scalar_of_a_state' fix

def a_scalar_of_a_scalar(w, x, h):
    return h * scalar(sum(h))  # <- scalar() takes w.name, a further input of a step, or a vector of one unit


def a_scalar_of_an_input_of_two(w, x, h):
    return h * scalar(x)  # <- sizes differ: 1 and 2 (that of 'x'), which these equations make equal


def a_scalar_of_several(w, x, h):
    return h * scalar(w.n(x, size=2))  # <- sizes differ: 2 and 1


def a_transposed_vector(w, x, h):
    return h * h.T  # <- only a matrix has a transpose, got a vector


def a_misspelt_word(w, x, h):
    return w.n(x, h, biass=1)  # <- w.n cannot multiply biass=1: an operand is a symbol, and the words of


def a_map_without_a_name(w, x, h):
    return tanh(w(x, h))  # <- an affine map has a name: w.n(x, h)


def a_reduction_of_numpy(w, x, h):
    return h * np.mean(h)  # <- np.mean cannot take a symbol: use the functions of rnncore.lang


def a_complex_constant(w, x, h):
    return tanh(w.n(x, h)) + constant(np.full((4, 4), 1j)) @ h  # <- constant() takes real numbers, got complex ones


def a_masked_constant(w, x, h):
    return h * constant(np.ma.masked_equal([1, 2, 3, 4], 2))  # <- constant() takes numbers, got masked elements


def a_constant_of_a_symbol(w, x, h):
    return h * constant(h)  # <- a symbol is not an array


def a_product_of_numpy(w, x, h):
    return h * np.dot(x, h)  # <- np.dot cannot take a symbol


def a_diagonal_between_sizes(w, x, h):
    return tanh(w.n(h, x=diag(x)) + w.n(h, size=9))  # <- sizes


def a_generator(w, x, h):  # noqa: D103
    yield h  # <- a generator cannot be part of an equation


MISTAKES = [
    f for f in list(globals().values())
    if inspect.isfunction(f) and f.__module__ == __name__ and f is not helper and "# <-" in inspect.getsource(f)
]  # fmt: skip


def marked(fn):
    lines, first = inspect.getsourcelines(fn)
    at = next(k for k, line in enumerate(lines) if "# <- " in line)
    return first + at, lines[at].split("# <- ")[1].strip()


@pytest.mark.parametrize("fn", MISTAKES, ids=lambda f: f.__name__)
def test_a_mistake_is_told_at_its_line(fn):
    line, words = marked(fn)
    with pytest.raises(LanguageError) as caught:
        rn.Network(cell(fn)(4), inputs=2)
    error = caught.value
    assert words in error.message
    assert (error.filename, error.lineno) == (__file__, line)
    assert str(error).startswith(f"{__file__}:{line}: ") and "Node" not in error.message


def test_a_mistake_in_a_function_that_the_cell_calls_is_told_there():
    def calls(w, x, h):
        return helper(h)

    with pytest.raises(LanguageError, match="has no attribute 'size'") as caught:
        trace(calls, {})
    assert caught.value.lineno == marked(helper)[0]


@pytest.mark.parametrize("write, words", [
    (lambda: cell(lambda x: x), "needs at least one state"),
    (lambda: cell(lambda: 0), "the first parameter of a step is the weights"),
    (lambda: cell(lambda w, x: x), "at least one state"),
    (lambda: cell(lambda w, x, *h: h), "cannot take *args"),
    (lambda: cell(lambda w, x, h, **more: h), "cannot take *args"),
    (lambda: cell(lambda w, x, h=0: h), "must stand after a bare `*`"),
])  # fmt: skip
def test_parameters_that_cannot_be_are_told_at_the_definition(write, words):
    with pytest.raises(LanguageError) as caught:
        write()
    assert words in caught.value.message and caught.value.filename == __file__


def test_a_symbol_of_another_step_is_refused():
    kept = []

    def first(w, x, h):
        kept.append(h)
        return h

    def second(w, x, h):
        return h + kept[0]

    trace(first, {})
    with pytest.raises(LanguageError, match="a symbol of another cell"):
        trace(second, {})


def test_a_function_of_the_language_needs_a_step():
    with pytest.raises(LanguageError, match="only inside a step"):
        constant([1.0])


def test_steps_are_traced_in_several_threads_at_once():
    inside, problems = threading.Barrier(2), []

    def work(k):
        def fn(w, x, h):
            inside.wait(20)  # both traces are under way
            made = constant([1.0, 2.0 + k])
            inside.wait(20)
            return tanh(w.h(x)) + made

        try:
            assert [v[1] for v in trace(fn, {}).arrays.values()] == [2.0 + k]
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert not problems


def test_what_a_cell_is_made_of_must_be_a_function():
    with pytest.raises(InputError, match="@cell stands above a function"):
        cell(3)


def test_inputs_states_and_options_come_from_the_parameters():
    def fn(w, x, h, c, *, dt, m, depth=2):
        return h, c + w.c(dt, m)

    step = trace(fn, {"depth": 2})
    assert (step.inputs, step.states) == (("x", "dt", "m"), ("h", "c"))
    assert not step.separate_output and step.output is step.next_states["h"]


def test_one_value_more_is_an_output_apart():
    def fn(w, x, h):
        h = tanh(w.h(x, h))
        return w.y(h=h, size=3), h

    step = trace(fn, {})
    assert step.separate_output
    assert [str(d) for d in step.output.shape] == ["3"] and step.dims["h"] == "units"


def test_a_number_or_a_scalar_as_a_new_state_is_spread():
    def fn(w, x, h, c):
        return 0.5, sum(h)

    net = rn.Network(cell(fn)(3), inputs=1)
    y, state = net(net.init(), np.ones((1, 2, 1)), state={"h": np.array([[1.0, 2, 3]])})
    np.testing.assert_array_equal(y, np.full((1, 2, 3), 0.5))
    np.testing.assert_allclose(state["c"], [[1.5, 1.5, 1.5]])


def test_comparison_between_symbols_is_an_op_only_while_tracing():
    seen = []

    def fn(w, x, h):
        seen.append(h == 0)
        seen.append(h)
        return where(h != 0, h, 1)

    step = trace(fn, {})
    assert seen[0].op == "eq" and (seen[1] == seen[1]) is True
    assert any(n.op == "ne" for n in [step.output.args[0]])


def test_the_step_is_traced_once_for_the_same_options():
    calls = []

    @cell
    def counted(w, x, h, *, k=1):
        calls.append(k)
        return k * h

    layer = counted(3)
    assert layer.step is counted(5).step and calls == [1]
    assert counted(3, k=2).step is not layer.step
    assert counted(3, k=True).step is not layer.step  # equal to 1, but another value
    assert calls == [1, 2, True]
