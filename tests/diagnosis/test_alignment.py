"""The picture of attention."""

import numpy as np
import pytest

from rnncore.diagnosis import plot_attention
from rnncore.errors import InputError


def test_what_is_drawn_are_the_weights_within_the_labels():
    alpha = np.random.default_rng(0).dirichlet(np.ones(5), 4)
    ax = plot_attention(alpha, "a bc", ["one", "two"])
    np.testing.assert_array_equal(ax.images[0].get_array(), alpha[:2, :4])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "\N{OPEN BOX}", "b", "c"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two"]
    assert ax.images[0].get_clim() == (0, 1)


def test_axes_of_ones_own():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert plot_attention(np.eye(2), "ab", "cd", ax) is ax and len(ax.images) == 1


@pytest.mark.parametrize(("source", "written"), [("a", "b"), ("ab", ""), ("", "ab"), ("", "")])
def test_a_picture_can_be_saved_however_little_there_is(tmp_path, source, written):
    plot_attention(np.eye(3), source, written).figure.savefig(tmp_path / "little.png")
    assert (tmp_path / "little.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((np.eye(2), "abc", "ab"), "source has 3 steps"), ((np.eye(2), "ab", "abc"), "written has 3 steps"),
        ((np.zeros((1, 2, 2)), "a", "a"), r"\(1, 2, 2\)"), ((np.array([["x"]]), "a", "a"), "numbers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        plot_attention(*given)
