"""Scorers: traced for one query and one key."""

import pytest

from rnncore.errors import InputError, LanguageError
from rnncore.lang import dot, scorer, tanh


@scorer
def additive(w, q, k, *, scale=1.0):
    """Additive attention. Bahdanau et al. 2015."""
    return scale * dot(w.v, tanh(w.a(q, k)))


def test_arguments_are_picked_by_their_names():
    step = additive.step()
    assert step.inputs == ("q", "k") and [p.name for p in step.params] == ["W_qa", "W_ka", "b_a", "v"]
    assert step.output.shape == () and additive.kind == "scorer" and additive.summary.startswith("Additive attention")

    @scorer
    def placed(w, q, position):
        return dot(w.p(q), q) - 0.1 * position

    assert placed.step().inputs == ("q", "position")


def test_options_are_chosen_by_a_call():
    assert additive(scale=2.0).options == {"scale": 2.0} and additive.step(scale=2.0) is not additive.step()
    with pytest.raises(InputError, match="scorer 'additive' has no option 'size'"):
        additive(size=3)


@pytest.mark.parametrize("write, words", [
    (lambda w, q, h: dot(q, h), "a scorer reads, after the weights, some of q, k, position; got 'h'"),
    (lambda w: 0.0, "got none of them"),
    (lambda w, q, k: q + k, "must return one score, a scalar"), (lambda w, q, k: None, "must return one score"),
])  # fmt: skip
def test_mistakes_are_told_at_the_authors_line(write, words):
    with pytest.raises(LanguageError, match=words) as caught:
        scorer(write).step()
    assert caught.value.filename == __file__
