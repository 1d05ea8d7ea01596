"""Every cell as a decoder with every scorer, and sources read in episodes, as one would write them down."""

import numpy as np

import rnncore as rn
from rnncore import reference
from rnncore.reference.passes import Run
from rnncore.reference.translation import translate

CLASSES, INPUTS = 5, 3
SCORERS = {"none": None, "location-20": rn.scorers.location(span=20.0)}
SCORERS |= {name: rn.scorers[name]() for name in rn.scorers if name != "location"}
CELLS = {name: rn.cells[name] for name in rn.cells}
VARIANTS = {
    "lstm-diagonal": lambda n: rn.cells.lstm(n, peephole="diagonal"),
    "lstm-full": lambda n: rn.cells.lstm(n, peephole="full"),
    "gru-after": lambda n: rn.cells.gru(n, reset="after"),
}


def network(cell, scorer, attend="before", units=6, **options):
    encoder = options.pop("encoder", None) or rn.topologies.bidirectional(rn.cells.gru(units // 2))
    options = {"feedback": "softmax", "input_feeding": attend == "after" and scorer is not None, **options}
    layer = rn.topologies.encoder_decoder(
        encoder, cell(units), outputs=CLASSES, scorer=scorer, attend=attend, **options
    )  # fmt: skip
    return rn.Network(layer, inputs=options.get("inputs", INPUTS))


class Problem:
    def __init__(self, net, dtype="float64", seed=0, batch=4, source=7, steps=5, forcing=0.5):
        rng = np.random.default_rng(seed)
        self.net, self.params = net, net.init(seed=seed, dtype=dtype)
        self.params.flat[:] += 0.2 * rng.standard_normal(self.params.flat.size)
        self.x = rng.standard_normal((batch, source, INPUTS)).astype(dtype)
        self.lengths = rng.integers(1, source + 1, batch)
        self.target_lengths = rng.integers(1, steps + 1, batch)
        self.lengths[0], self.target_lengths[0] = source, steps
        self.lengths[1:][-1:], self.target_lengths[1:2] = 0, 0
        self.target = rng.integers(0, CLASSES, (batch, steps))
        self.given = {"lengths": self.lengths, "target_lengths": self.target_lengths, "seed": 3}
        self.given |= {"target": self.target, "teacher_forcing": forcing}
        self.dy = rng.standard_normal((batch, steps, CLASSES)).astype(dtype)
        self.dstate = {k: rng.standard_normal((batch, *s)).astype(dtype) for k, s in net.state_shapes.items()}

    @property
    def written(self):
        """What the reference is told: the same targets and coins."""
        arguments = {k: v for k, v in self.given.items() if k not in ("lengths", "seed")}
        batch = self.net._batch(self.params, self.x, self.lengths, None, seed=3, **arguments)
        lesson = {} if batch.lesson is None else batch.lesson.arrays
        shaped = {k: v.reshape(*self.target.shape, -1).astype(float) for k, v in lesson.items()}
        return reference.Written(batch.writing.lengths, batch.writing.time, shaped)

    def back(self):
        y, final, tape = self.net.forward(self.params, self.x, **self.given)
        return y, final, self.net.backward(self.params, tape, self.dy, dstate=self.dstate)


def combined(cell, scorer):
    """Every cell with every scorer, attending before the step and after it in turns."""
    attend = ("before", "after")[(sorted(CELLS).index(cell) + sorted(SCORERS).index(scorer)) % 2]
    return network(CELLS[cell], SCORERS[scorer], attend)


class Episodes(Run):
    """A pass of the reference whose encoder reads each episode of a source apart, without the steps masked."""

    episodes, learned = (), {}

    def forward(self, block, prefix, xs, sizes):
        if prefix != "encoder.":
            return super().forward(block, prefix, xs, sizes)
        values, ends = [], []
        for b, episodes in enumerate(self.episodes):
            rows = []
            for k, steps in enumerate(episodes):
                start = {p: (v if k == 0 else self.learned[p])[b : b + 1] for p, v in self.state.items()}
                one = Run(self.params, np.array([len(steps)]), start)
                y, _, _ = one.forward(block, prefix, {n: v[b : b + 1, steps] for n, v in xs.items()}, sizes)
                rows.append(y[0])
            values.append(np.concatenate(rows))
            ends.append(one.final)
        whole = np.zeros((len(values), max(map(len, values), default=0), values[0].shape[1]), values[0].dtype)
        for to, rows in zip(whole, values):
            to[: len(rows)] = rows
        self.final |= {p: np.concatenate([end[p] for end in ends]) for p in ends[0]}
        return whole, None, None


def episodes_of(length, mask, reset):
    """The steps of each episode of one sequence that count."""
    found = [[]]
    for t in range(length):
        if reset[t]:
            found.append([])
        if mask[t]:
            found[-1].append(t)
    return found


def by_episodes(p, params, x, state, mask, reset):
    """Outputs and final states of a problem with a mask and resets of its source; `state` of the encoder, or None."""
    net, episodes = p.net, [episodes_of(*row) for row in zip(p.lengths, mask, reset)]
    zero = {k: np.zeros((len(x), *s)) for k, s in net.state_shapes.items()}
    learned = {k: v + params[k + "0"] if k + "0" in params else v for k, v in zero.items()}
    counts = np.array([sum(map(len, found)) for found in episodes])
    run = Episodes(params, counts, learned | (state or {}), p.written)
    run.episodes, run.learned = episodes, learned
    y, _, _ = translate(run, net.block, "", {"x": x}, net.fed)
    return y, run.final
