"""What a diagnosis says and draws."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.diagnosis import Diagnosis
from rnncore.errors import InputError


def made(norms):
    return Diagnosis(1.0, {"h": np.asarray(norms, float)}, np.zeros(0, int), {}, {}, {}, {}, 0.05)


@pytest.mark.parametrize("factor, verdict", [(0.5, "vanishes"), (1.0, "lasts"), (2.0, "explodes")])
def test_the_verdict_is_of_the_way_back(factor, verdict):
    norms = 3.0 * factor ** np.arange(19, -1, -1.0)  # the last step is the first on the way back
    found = made([norms, 10 * norms])
    assert found.verdict("h") == verdict and found.decay("h") == pytest.approx(factor)
    assert f"h            {verdict}: " in str(found)


def test_sequences_are_put_together_at_their_ends():
    found = made([[1, 10, 100], [4, 40, np.nan], [np.nan] * 3])
    np.testing.assert_allclose(found.over_time("h"), [1, np.sqrt(40), np.sqrt(4000)])
    assert found.decay("h") == pytest.approx(0.1, rel=0.5)


def test_zeros_and_nothing_are_said_so():
    for norms in (np.zeros((2, 5)), np.zeros((0, 5)), np.full((1, 3), np.nan)):
        found = made(norms)
        assert found.verdict("h") == "is zero" and np.isnan(found.decay("h"))
        assert "is zero at every step" in str(found)
        found.plot()
    assert made([[2.0, np.nan]]).verdict("h") == "lasts"


def test_the_words_and_the_picture_of_a_network(tmp_path):
    net = rn.Network(stress.stacked(stress.both_ways(stress.gated(4)), stress.memory(4)), inputs=2, mode="many-to-one")
    x = np.random.default_rng(0).standard_normal((3, 40, 2))
    found = rn.diagnose(net, net.init(), x, lengths=[40, 25, 0])
    words = str(found)
    assert words == repr(found)
    for part in ("0.forward.h", "0.backward.h", "1.c", "Lyapunov", "0.forward.z", "near 1", "within 0.05 of a limit"):
        assert part in words
    figure = found.plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    axes = [ax for sub in figure.subfigs for ax in sub.axes]
    assert len(axes) == 3 and all(ax.get_xlabel() for ax in axes)
    gradients, spectra, gates = axes
    assert gradients.get_yscale() == spectra.get_yscale() == "log"
    labels = [text.get_text() for text in gradients.get_legend().get_texts()]
    assert [label.split(":")[0] for label in labels] == list(found.gradient_norms)
    assert len(gates.get_yticks()) == len(found.saturation)


def test_a_picture_of_no_format_is_refused(tmp_path):
    with pytest.raises(InputError, match="no picture format is called 'docx'"):
        made(np.ones((1, 3))).plot(tmp_path / "picture.docx")
    assert not list(tmp_path.iterdir())
