"""Scorers with fixed arrays: as those with weights that have the same numbers."""

import numpy as np
import pytest
from writers import Problem, network

import rnncore as rn
from rnncore import reference
from rnncore.lang import constant, dot, scorer, sum

RNG = np.random.default_rng(5)
MATRIX, VECTOR = RNG.standard_normal((6, 6)), RNG.standard_normal(6)


@scorer
def of_keys(w, q, k, *, learned=False):
    return dot(q, w.m(k, bias=False) if learned else constant(MATRIX) @ k)


@scorer
def of_queries(w, q, k, *, learned=False):
    return dot(w.m(q, bias=False) if learned else constant(MATRIX) @ q, k)


@scorer
def of_both(w, q, k, *, learned=False):
    return sum(q * k * (w.m if learned else constant(VECTOR)))


@pytest.mark.parametrize("attend", ["before", "after"])
@pytest.mark.parametrize(("scored", "name", "numbers"), [
    (of_keys, "W_km", MATRIX), (of_queries, "W_qm", MATRIX), (of_both, "m", VECTOR),
])  # fmt: skip
def test_fixed_numbers_score_as_learned_ones(scored, name, numbers, attend):
    fixed, learned = (Problem(network(rn.cells.vanilla, scored(learned=how), attend)) for how in (False, True))
    (path,) = [path for path in learned.params if path not in fixed.params]
    assert path.endswith(name)
    for each in ("x", "lengths", "given", "dy", "dstate"):
        setattr(learned, each, getattr(fixed, each))
    for each in fixed.params:
        learned.params[each] = fixed.params[each]
    learned.params[path] = numbers
    want, _ = reference.run(fixed.net, dict(fixed.params), fixed.x, lengths=fixed.lengths, written=fixed.written)
    (y, _, (dx, _, grads)), (other_y, _, (other_dx, _, other)) = fixed.back(), learned.back()
    assert np.allclose(y, want, atol=1e-12) and np.allclose(y, other_y, atol=1e-12)
    assert np.allclose(dx, other_dx, atol=1e-10)
    assert all(np.allclose(grads[each], other[each], atol=1e-10) for each in grads)


@pytest.mark.parametrize("scored", [of_keys, of_queries, of_both])
def test_another_number_of_units_is_told(scored):
    with pytest.raises(rn.errors.LanguageError, match="sizes differ: 6 and 4"):
        network(rn.cells.vanilla, scored(), units=4)
