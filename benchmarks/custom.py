"""Are cells that nobody tuned as fast as those that libraries have?

``python -m benchmarks.custom`` compares cells of `benchmarks.peers.custom` with the same equations as a JAX scan under
jit and as a loop in Python over PyTorch; then every registered cell, and these, with an LSTM of about as many
multiply-adds a step, by the share of the machine's peak that both reach. Calls take turns as in `benchmarks.compare`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .common import TURN, TURNS, Case, arguments, case, geomean, in_turns, multiply_adds, named, table, verdict
from .compare import WHAT, ours
from .machine import Peak, described

SHAPES = [(1, 100, 32, 32), (32, 100, 16, 32), (32, 100, 128, 128), (32, 50, 256, 256)]
BARS = {"jax": 1.5, "torch": 5.0}
SHARE_SHAPE, SHARE = (32, 100, 128, 128), 0.8
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("gru", {"reset": "after"}), ("lstm", {"peephole": "diagonal"}), ("lstm", {"peephole": "full"}),
]  # fmt: skip


def randomised(one: Case) -> Case:
    """Biases and vectors that start equal, or at zero, are neither here."""
    one.params.flat[:] = 0.05 * np.random.default_rng(1).standard_normal(one.params.flat.size)
    return one


def against_peers(rounds: int, threads: int, cells: list[str]) -> list[dict]:
    """A row for every custom cell, shape, and inference or training."""
    from .peers import agree
    from .peers.custom import CUSTOM, calls

    rows = []
    for name in cells:
        for shape in SHAPES:
            one = randomised(case(CUSTOM[name].cell, shape))
            sides = {"ours": ours(one)} | {peer: calls(peer, CUSTOM[name], one, threads) for peer in BARS}
            for peer in BARS:
                agree(sides["ours"], sides[peer], 1e-3)
            for what in WHAT:
                seconds = in_turns({k: f[what] for k, f in sides.items()}, rounds, least=TURN)
                rows.append({"name": f"{name} {what} {named(shape)}", "seconds": seconds})
    return rows


def lstm_like(one: Case) -> Case:
    """An LSTM with as many inputs as units and about as many multiply-adds a step: units are a multiple of 16."""
    batch, steps, _ = one.dy.shape
    units = max(16, round((multiply_adds(one) / 8) ** 0.5 / 16) * 16)
    return case("lstm", (batch, steps, units, units))


def shares(rounds: int, peak: Peak) -> list[dict]:
    """For every registered cell and every custom one: its operations a second, and the LSTM's."""
    import rnncore as rn

    from .peers.custom import CUSTOM

    registered = [(name, {}) for name in rn.cells] + VARIANTS
    rows = []
    for cell, options in [*registered, *((c.cell, {}) for c in CUSTOM.values())]:
        one = randomised(case(cell, SHARE_SHAPE, **options))
        like = lstm_like(one)
        sides = {"cell": (one, ours(one)), "lstm": (like, ours(like))}
        for what, times in WHAT.items():
            peak.measure()
            seconds = in_turns({k: f[what] for k, (_, f) in sides.items()}, rounds, least=TURN)
            found = {
                k: 2 * times * c.dy.shape[0] * c.dy.shape[1] * multiply_adds(c) / seconds[k]
                for k, (c, _) in sides.items()
            }
            name = f"{one.cell} {what}"
            rows.append({"name": name, "registered": isinstance(cell, str), "units": like.dy.shape[2]} | found)
    return rows


def main() -> None:
    options = arguments(
        __doc__,
        rounds=(7, TURNS),
        cells=("ugrnn,mgu,indrnn,lem,cornn", "Which cells are compared with the peers."),
        parts=("peers,shares", "The comparison with peers, that of shares of the peak with an LSTM, or both."),
    )
    from .peers import versions

    missed, parts = [], options.parts.split(",")
    print(described(options.threads, versions(BARS)))
    if "peers" in parts:
        rows = against_peers(options.rounds, options.threads, options.cells.split(","))
        ratios = {peer: [r["seconds"][peer] / r["seconds"]["ours"] for r in rows] for peer in BARS}
        lines = [
            [r["name"], *(f"{1e3 * s:.3g}" for s in r["seconds"].values()), *(f"{ratios[p][k]:.2f}" for p in BARS)]
            for k, r in enumerate(rows)
        ]
        print(table(("milliseconds", "ours", *BARS, *(f"{p}/ours" for p in BARS)), lines))
        for peer, bar in BARS.items():
            mean = geomean(ratios[peer])
            print(f"geometric mean of {peer}/ours: {mean:.2f}, smallest {min(ratios[peer]):.2f}")
            if mean < bar:
                missed.append(f"{peer}: geometric mean {mean:.2f}; the bar is {bar}")
    if "shares" in parts:
        peak = Peak(options.threads)
        rows = shares(options.rounds, peak)
        ratio = [r["cell"] / r["lstm"] for r in rows]
        lines = [
            [r["name"], *(f"{r[k] / peak.value:.0%}" for k in ("cell", "lstm")), r["units"], f"{k:.2f}"]
            for r, k in zip(rows, ratio)
        ]
        print(f"\nshares of the peak at {named(SHARE_SHAPE)}; {peak}")
        print(table(("", "cell", "LSTM", "its units", "cell/LSTM"), lines))
        missed += [
            f"{r['name']}: {k:.2f} of the LSTM's share of the peak; the bar is {SHARE}"
            for r, k in zip(rows, ratio) if r["registered"] and k < SHARE
        ]  # fmt: skip
    verdict(options, missed)


if __name__ == "__main__":
    main()
