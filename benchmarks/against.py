"""How many times faster than the fastest of PyTorch, ONNX Runtime and JAX?

Both are called in turns, so that a slow hour of the machine changes neither line. `benchmarks.compare` has every row.
"""

from .common import TURN, in_turns, needs

ROWS = ["B1 T100 I32 H32", "B32 T100 I64 H64", "B32 T50 I256 H256"]


class Against:
    params = (["lstm", "gru", "vanilla"], ROWS, ["infer", "train"])
    param_names = ("cell", "shape", "what")
    version = "1"
    timeout = 300

    def setup(self, cell, shape, what):
        needs("jax", "onnx", "onnxruntime", "torch")

    def track_best_peer(self, cell, shape, what):
        from .compare import PEERS, prepared, shape_of

        _, sides = prepared(cell, shape_of(shape), [what], list(PEERS), 2, "float32")
        seconds = in_turns({k: f[what] for k, f in sides.items() if what in f}, 3, least=TURN)
        return min(s for k, s in seconds.items() if k != "ours") / seconds["ours"]
