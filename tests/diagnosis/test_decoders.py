"""Diagnosis of decoders, and of sequences with masks and resets: every number by another way."""

import numpy as np
import pytest
import stress

import rnncore as rn

STEPS, TIME, BATCH = 4, 7, 3
LENGTHS, TARGETS = np.array([7, 4, 0]), np.array([4, 3, 2])


def network(units=1, scorer=None, cell=stress.simple, **options):
    encoder = stress.both_ways(cell(units))
    given = {"outputs": 3, "scorer": scorer, "feedback": "softmax", **options}
    return rn.Network(rn.topologies.encoder_decoder(encoder, cell(4), **given), inputs=2)


class Case:
    def __init__(self, net, seed=0, marks=False):
        rng = np.random.default_rng(seed)
        self.net, self.params = net, net.init(seed=seed, dtype="float64")
        self.params.flat[:] += 0.2 * rng.standard_normal(self.params.flat.size)
        self.x = rng.standard_normal((BATCH, TIME, 2))
        self.target = rng.integers(0, 3, (BATCH, STEPS))
        self.mask, self.reset = rng.random((BATCH, TIME)) < 0.7, rng.random((BATCH, TIME)) < 0.4
        if not marks:
            self.mask[:], self.reset[:] = True, False
        self.given = {"lengths": LENGTHS}
        self.given |= {"mask": self.mask, "reset": self.reset} if marks else {}

    @property
    def counted(self):
        return self.mask & (np.arange(TIME) < LENGTHS[:, None])


def turned(norms, lengths):
    """Rows in the order of time, of a loop that reads backward."""
    return np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(norms, lengths)])


@pytest.mark.parametrize("marks", [False, True])
@pytest.mark.parametrize("scorer", [None, "bahdanau", "concat", "general", "location"])
def test_the_gradient_of_every_state_of_the_encoder(scorer, marks):
    """x reaches the loss through the two states alone: its gradient, 2 numbers, gives dL/dh of both directions."""
    case = Case(network(scorer=None if scorer is None else rn.scorers[scorer]), marks=marks)
    net, params, given = case.net, case.params, {**case.given, "target_lengths": TARGETS}
    y, _, tape = net.forward(params, case.x, target=case.target, **given)
    p = np.exp(y) / np.exp(y).sum(2, keepdims=True)
    dx, _, _ = net.backward(params, tape, p - np.eye(3)[case.target])
    found = rn.diagnose(net, params, case.x, case.target, loss="cross_entropy", **given)
    encoder = rn.Network(net.layer.children[0], inputs=2)
    own = encoder.init(dtype="float64")
    for path in own:
        own[path] = params["encoder." + path]
    h, _ = encoder(own, case.x, **case.given)
    maps = np.stack([own[f"{way}.W_xh"][0] for way in ("forward", "backward")])
    slopes = np.linalg.solve(maps.T, dx[..., None])[..., 0] / (1 - h**2)
    norms = [found.gradient_norms[f"encoder.{way}.h"] for way in ("forward", "backward")]
    norms[1] = turned(norms[1], LENGTHS)
    for k in range(2):
        assert np.array_equal(np.isnan(norms[k]), ~case.counted)
        np.testing.assert_allclose(norms[k][case.counted], np.abs(slopes[..., k])[case.counted], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("scorer", ["bahdanau", "location"])
def test_the_gradient_of_every_state_of_the_decoder_is_that_of_a_restart(scorer):
    """Forced at every step: what a state says to its own output, and to all that is written after it."""
    case = Case(network(scorer=rn.scorers[scorer], cell=stress.memory))
    net, params = case.net, case.params
    given = {**case.given, "target": case.target, "target_lengths": TARGETS}
    y, _ = net(params, case.x, **given)
    p = np.exp(y) / np.exp(y).sum(2, keepdims=True)
    dy = np.where((np.arange(STEPS) < TARGETS[:, None])[..., None], p - np.eye(3)[case.target], 0)
    found = rn.diagnose(net, params, case.x, case.target, loss="cross_entropy", lengths=LENGTHS, target_lengths=TARGETS)
    assert found.gradient_norms["decoder.h"].shape == (BATCH, STEPS)
    for t in range(STEPS):
        head = {**given, "target": case.target[:, : t + 1], "target_lengths": np.minimum(TARGETS, t + 1)}
        _, middle = net(params, case.x, **head)
        state = {k: v for k, v in middle.items() if not k.startswith("encoder")}
        rest = {**given, "target": case.target[:, t + 1 :], "target_lengths": np.maximum(TARGETS - t - 1, 0)}
        _, _, tape = net.forward(params, case.x, state=state, **rest)
        _, d, _ = net.backward(params, tape, dy[:, t + 1 :])
        want = np.linalg.norm(d["decoder.h"] + dy[:, t] @ params["readout.V"], axis=1)
        inside = t < TARGETS
        np.testing.assert_allclose(found.gradient_norms["decoder.h"][inside, t], want[inside], rtol=1e-9)
        np.testing.assert_allclose(found.gradient_norms["y"][inside, t], np.linalg.norm(d["y"], axis=1)[inside], 1e-9)
        assert np.isnan(found.gradient_norms["decoder.h"][~inside, t]).all()


@pytest.mark.parametrize("sequence", [0, 1])
@pytest.mark.parametrize("options", [{}, {"attend": "after", "input_feeding": True}])
def test_the_jacobian_of_a_step_that_attends(options, sequence):
    case = Case(network(3, rn.scorers.bahdanau, stress.gated, **options))
    net, params = case.net, case.params
    at = [0, 2, 6] if sequence == 0 else [0, 2]  # the source has more steps than what is written, or as many
    found = rn.diagnose(net, params, case.x, steps=STEPS, at=at, sequence=sequence, **case.given)
    assert list(found.steps["encoder.forward."]) == at
    assert list(found.steps[""]) == [0, 2] and list(found.steps) == ["encoder.forward.", "encoder.backward.", ""]
    for row, t in enumerate(found.steps[""]):
        _, before = net(params, case.x, steps=t, **case.given)
        state = {k: v for k, v in before.items() if not k.startswith("encoder")}
        columns = []
        for path, value in state.items():
            for j in range(value.shape[1]):
                move = {k: np.zeros_like(v) for k, v in state.items()}
                move[path][:, j] = 1
                after = net.jvp(params, case.x, state=state, dstate=move, steps=1, **case.given)[3]
                columns.append(np.concatenate([after[k][sequence] for k in state]))
        want = np.linalg.svd(np.array(columns), compute_uv=False)
        np.testing.assert_allclose(found.singular_values[""][row], want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("block", [stress.gated(3), stress.both_ways(stress.gated(3))])
def test_exponents_go_on_where_an_episode_starts(block):
    """All of them add up to the mean logarithm of the volume that a step leaves of another."""
    net, case = rn.Network(block, inputs=2), Case(network(), seed=4, marks=True)
    params = net.init(dtype="float64")
    found = rn.diagnose(net, params, case.x, at=range(int(case.counted[0].sum())), exponents=3, **case.given)
    for loop, values in found.singular_values.items():
        whole = found.lyapunov_exponents[loop].sum()
        assert whole == pytest.approx(np.log(values).sum() / len(values), rel=1e-9)


@pytest.mark.parametrize("block", [stress.gated(3), stress.both_ways(stress.gated(3), merge="mean")])
def test_a_mask_shows_the_steps_that_are_left_and_where(block):
    net, case = rn.Network(block, inputs=2), Case(network(), seed=2, marks=True)
    params, rng = net.init(dtype="float64"), np.random.default_rng(1)
    dy = rng.standard_normal((BATCH, TIME, 3))
    found = rn.diagnose(net, params, case.x, dy=dy, lengths=LENGTHS, mask=case.mask)
    short = [v[m] for v, m in zip(case.x, case.counted)]
    counts = case.counted.sum(1)
    put_together = np.zeros((BATCH, counts.max(), 3))
    for to, rows, m in zip(put_together, dy, case.counted):
        to[: m.sum()] = rows[m]
    alone = rn.diagnose(net, params, short, dy=put_together)
    for path, norms in found.gradient_norms.items():
        np.testing.assert_array_equal(
            norms[~np.isnan(norms)], alone.gradient_norms[path][np.arange(counts.max()) < counts[:, None]]
        )
        inside = turned(case.counted, LENGTHS) if path.startswith("backward") else case.counted
        np.testing.assert_array_equal(~np.isnan(norms), inside)
        np.testing.assert_array_equal(found.from_the_end(path)[0, TIME - LENGTHS[0] :], norms[0, : LENGTHS[0]])
    for loop in alone.singular_values:
        np.testing.assert_array_equal(found.singular_values[loop], alone.singular_values[loop])
        np.testing.assert_array_equal(found.lyapunov_exponents[loop], alone.lyapunov_exponents[loop])


def test_words_and_picture_of_a_decoder(tmp_path):
    case = Case(network(3, rn.scorers.general, stress.gated), marks=True)
    found = rn.diagnose(case.net, case.params, case.x, case.target, loss="cross_entropy", **case.given)
    assert "the decoder" in str(found) and "encoder.backward" in str(found) and "decoder.h" in str(found)
    assert list(found.saturation)[:3] == ["encoder.forward.z", "encoder.forward.r", "encoder.forward.n"]
    found.plot(tmp_path / "decoder.png")
    assert (tmp_path / "decoder.png").stat().st_size > 10_000


def test_without_a_target_the_last_output_that_is_written_is_made_small():
    case = Case(network(3, rn.scorers.bahdanau, stress.gated))
    y, _ = case.net(case.params, case.x, lengths=LENGTHS, steps=STEPS)
    found = rn.diagnose(case.net, case.params, case.x, lengths=LENGTHS, steps=STEPS)
    assert found.value == pytest.approx((y[:, -1] ** 2).sum() / 2, rel=1e-12)


def test_no_steps_and_no_sequences():
    case = Case(network(3, rn.scorers.bahdanau, stress.gated))
    for x, steps in ((case.x, 0), (np.zeros((2, 0, 2)), 3), (np.zeros((0, 4, 2)), 3)):
        found = rn.diagnose(case.net, case.params, x, steps=steps)
        str(found), found.plot()
