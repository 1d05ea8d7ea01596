"""Characters and tokens, there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore.data import Vocabulary
from rnncore.errors import InputError

TEXTS = st.lists(st.text(max_size=9), min_size=1, max_size=4).filter(any)


@given(TEXTS, st.booleans())
def test_there_and_back(texts, ends):
    vocabulary = Vocabulary.of(texts, ends)
    for text in texts:
        tokens = vocabulary.encode(text)
        assert tokens.dtype == np.int64 and len(tokens) == len(text) + ends
        assert not tokens.size or 0 <= tokens.min() and tokens.max() < vocabulary.size
        assert vocabulary.decode(tokens) == text


def test_one_text_or_several():
    assert Vocabulary.of("cabba") == Vocabulary.of(["ca", "bba"]) == Vocabulary("abc")


def test_what_follows_the_end_is_left_out():
    vocabulary = Vocabulary("ab", ends=True)
    assert vocabulary.decode([1, 2, 0, 2]) == "b" and vocabulary.decode([1, 0]) == "ba"
    assert vocabulary.decode([]) == "" and Vocabulary("ab").end is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Vocabulary("aba"), "'a' occurs more than once"),
        (lambda: Vocabulary(""), "got ''"),
        (lambda: Vocabulary(["a", "b"]), "as one string"),
        (lambda: Vocabulary("ab").encode("abc"), "character 2, 'c'"),
        (lambda: Vocabulary("ab").decode([0, 2]), r"0\.\.1, got 2"),
        (lambda: Vocabulary("ab").decode([-1]), "got -1"),
        (lambda: Vocabulary("ab").decode([0.5]), "integer"),
        (lambda: Vocabulary("ab").decode([[0]]), r"shape \(1, 1\)"),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
