"""How long does one step at a time take?

``python -m benchmarks.streaming``: one step at batch 1 from Python, of `Network.stream` and of the peers that keep no
loop, PyTorch's cell and a session of ONNX Runtime; and from compiled code, of `Network.stepper`, beside its floor: the
operations at the peak of one core, or the reading of the weights at the speed of the cache that holds them, whichever
takes longer. The last columns are of weights stored as bfloat16. ``--markdown FILE`` puts the table between the marks
of a page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import (
    CELLS,
    MARKDOWN,
    TURNS,
    Case,
    arguments,
    case,
    in_turns,
    into_page,
    multiply_adds,
    needs,
    table,
    verdict,
)
from .compare import as_markdown
from .machine import Peak, described
from .peers import versions

SIZES = [16, 32, 64, 128, 256, 512]
FORMS: list[tuple[str, dict[str, Any]]] = [("lstm", {}), ("gru", {"reset": "after"}), ("vanilla", {})]
BAR = 5e-6  # of a step from Python at 64 units
STEPS = 200  # of a call that is timed from compiled code
TURN = 0.005


class Stream:
    """One step at a time, batch 1."""

    params = (CELLS, [16, 64, 256])
    param_names = ("cell", "units")
    version = "2"

    def setup(self, cell, units):
        one = case(cell, (1, 1, units, units))
        self.stream, self.x = one.net.stream(one.params), one.x[:, 0]
        self.stream.step(self.x)

    def time_step(self, cell, units):
        self.stream.step(self.x)


class Compiled:
    """Two hundred steps inside compiled code, batch 1."""

    params = (CELLS, [16, 64, 256])
    param_names = ("cell", "units")
    version = "1"

    def setup(self, cell, units):
        self.steps = compiled(case(cell, (1, 1, units, units)), None)
        self.steps()

    def time_steps(self, cell, units):
        self.steps()


class Against:
    """The time of a peer's step over that of ours, 64 units."""

    params = (["torch", "onnx"],)
    param_names = ("peer",)
    version = "1"
    unit = "times as long"

    def setup(self, peer):
        needs({"torch": "torch", "onnx": "onnxruntime"}[peer])

    def track_lstm(self, peer):
        one = case("lstm", (1, 1, 64, 64))
        taken = in_turns({"ours": ours(one), "peer": PEERS[peer](one, 1)}, 5, least=TURN)
        return taken["peer"] / taken["ours"]


def ours(one: Case, weights: str | None = None) -> Callable[[], Any]:
    """A step of a stream."""
    stream, x = one.net.stream(one.params, weights=weights), np.ascontiguousarray(one.x[:, 0])
    return lambda: stream.step(x)


def compiled(one: Case, weights: str | None) -> Callable[[], Any]:
    """Steps of a stepper, in a loop of compiled code."""
    stepper = one.net.stepper(one.params, weights=weights)
    run, x, y = stepper.start(), np.ascontiguousarray(one.x[0, 0]), np.zeros(stepper.outputs, stepper.dtype)
    loop = looping()
    return lambda: loop(stepper, run, x, y, STEPS)


_made: list[Callable] = []


def looping() -> Callable:
    """The loop that a user would write."""
    if not _made:
        import numba

        @numba.njit(nogil=True)
        def loop(stepper, run, x, y, steps):
            for _ in range(steps):
                stepper.step(run, x, y)

        _made.append(loop)
    return _made[0]


def torch_cell(one: Case, threads: int) -> Callable[[], Any]:
    """PyTorch's cell of the same weights, its state handed on."""
    import torch

    from .peers.pytorch import layer

    torch.set_num_threads(threads)
    whole = layer(one)
    kind = {"LSTM": torch.nn.LSTMCell, "GRU": torch.nn.GRUCell, "RNN": torch.nn.RNNCell}[type(whole).__name__]
    made = kind(one.x.shape[2], one.dy.shape[2])
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(made, name).copy_(getattr(whole, f"{name}_l0"))
    x, state = torch.from_numpy(np.ascontiguousarray(one.x[:, 0])), [None]

    def step():
        with torch.inference_mode():
            state[0] = made(x, state[0])
        return state[0][0] if isinstance(state[0], tuple) else state[0]

    return step


def onnx_session(one: Case, threads: int) -> Callable[[], Any]:
    """A session of ONNX Runtime over one step, its state handed on."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    from .peers.onnx_runtime import model

    graph, units = onnx.load_from_string(model(one)), one.dy.shape[2]
    node = graph.graph.node[0]
    states = ["h", "c"] if node.op_type == "LSTM" else ["h"]
    node.input.extend(["", *(f"{s}0" for s in states)])
    node.output.extend(f"{s}1" for s in states)
    graph.graph.input.extend(helper.make_tensor_value_info(f"{s}0", TensorProto.FLOAT, [1, 1, units]) for s in states)
    graph.graph.output.extend(helper.make_tensor_value_info(f"{s}1", TensorProto.FLOAT, [1, 1, units]) for s in states)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    zero = np.zeros((1, 1, units), "float32")
    names, given = [f"{s}1" for s in states], {"x": one.x, **{f"{s}0": zero for s in states}}

    def step():
        now = session.run(names, given)
        given.update(zip((f"{s}0" for s in states), now))
        return now[0]

    return step


PEERS = {"torch": torch_cell, "onnx": onnx_session}


def reading(nbytes: int) -> Callable[[], Any]:
    """Read so many bytes, many times over."""
    import numba

    @numba.njit(fastmath=True, nogil=True)
    def total(a, times):
        s = np.float32(0)
        for _ in range(times):
            for k in range(len(a)):
                s += a[k]
        return s

    array = np.ones(max(nbytes // 4, 16), "float32")
    return lambda: total(array, STEPS)


def agree(mine: Callable, theirs: Callable, what: str) -> None:
    """Stop where a peer computes something else: its time would mean nothing."""
    for _ in range(5):
        want, got = np.asarray(mine()).ravel(), np.asarray(theirs()).ravel()
    far = np.abs(got - want).max() / np.abs(want).max()
    if not far < 1e-4:
        raise SystemExit(f"{what}: results differ by {far:.2g} of the largest value")


def measured(one: Case, peak: float, rounds: int) -> dict[str, float]:
    """Seconds of a step, by what takes it."""
    for name, peer in PEERS.items():
        agree(ours(one), peer(one, 1), f"{name}, {one.cell}")
    calls = {"stream": ours(one), "torch": torch_cell(one, 1), "onnx": onnx_session(one, 1)}
    calls |= {"near": ours(one, "bfloat16"), "njit": compiled(one, None), "njit near": compiled(one, "bfloat16")}
    calls["read"] = reading(one.params.flat.nbytes)
    taken = in_turns(calls, rounds, least=TURN)
    taken |= {name: taken[name] / STEPS for name in ("njit", "njit near", "read")}
    taken["floor"] = max(taken["read"], 2.0 * multiply_adds(one) / peak)
    return taken


def main() -> None:
    options = arguments(
        __doc__,
        rounds=(7, TURNS),
        threads=(1, "Threads of every library."),
        units=(",".join(map(str, SIZES)), "Sizes of the layers, units and features alike."),
        markdown=("", MARKDOWN),
    )
    rows, missed, peak = [], [], Peak(1)
    for cell, form in FORMS:
        for units in map(int, options.units.split(",")):
            peak.measure()
            one = case(cell, (1, 1, units, units), **form)
            t = measured(one, peak.value, options.rounds)
            names = ("stream", "torch", "onnx", "njit", "floor")
            figures = [f"{1e6 * t[n]:.2f}" for n in names] + [f"{t['njit'] / t['floor']:.2f}"]
            rows.append([f"{one.cell}, {units}", *figures, f"{1e6 * t['near']:.2f}", f"{1e6 * t['njit near']:.2f}"])
            if units == 64 and t["stream"] > BAR:
                missed.append(f"{one.cell}, 64 units: {1e6 * t['stream']:.2f} µs a step, at most {1e6 * BAR:.0f}")
            for peer in PEERS:
                if t["stream"] > t[peer]:
                    missed.append(f"{one.cell}, {units} units: {peer} takes {t[peer] / t['stream']:.2f} of our time")
    head = ["cell, units", "stream", "PyTorch", "ONNX Runtime", "njit", "floor", "of it", "bfloat16", "njit bfloat16"]
    about = "Microseconds a step, float32, batch 1, as many inputs as units"
    machine = described(1, f"{versions(PEERS)}; {peak}")
    print(f"{about}; {machine}\n\n{table(head, rows)}")
    if options.markdown:
        into_page(options.markdown, "streaming", f"{about}; {machine}.\n\n{as_markdown(head, rows)}")
    verdict(options, missed)


if __name__ == "__main__":
    main()
