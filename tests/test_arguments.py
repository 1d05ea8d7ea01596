"""What counts as an integer."""

import numpy as np
import pytest

from rnncore.arguments import whole


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_integers_of_any_kind(value):
    found = whole(value, 3)
    assert found == 3 and type(found) is int
    assert whole(value, 4) is None


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float64(3), "3", None, [3], np.array([1, 2])])
def test_nothing_else(value):
    assert whole(value, 0) is None
