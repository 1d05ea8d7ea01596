"""How fast are networks of more than one layer, or with other feedback?"""

import numpy as np

NAMES = ["bidirectional", "deep", "jordan", "feedback", "encoder_decoder"]
SHAPE = (32, 50, 64, 64)


def network(name):
    import rnncore as rn

    units = SHAPE[3]
    layer = rn.cells.lstm(units)
    top = rn.topologies
    block = {
        "bidirectional": lambda: top.bidirectional(layer),
        "deep": lambda: top.deep(layer, layer, layer),
        "jordan": lambda: top.jordan(layer, outputs=8),
        "feedback": lambda: top.feedback(layer, layer, edges=((1, 0),)),
        "encoder_decoder": lambda: top.encoder_decoder(layer, layer, outputs=8),
    }[name]()
    return rn.Network(block, inputs=SHAPE[2])


class Topologies:
    params = (NAMES,)
    param_names = ("topology",)
    version = "1"

    def setup(self, name):
        self.net = network(name)
        self.params_ = self.net.init(seed=0)
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal(SHAPE[:3]).astype("float32")
        more = {"target": rng.standard_normal((SHAPE[0], SHAPE[1], 8)).astype("float32")}
        self.more = more if name == "encoder_decoder" else {}
        y, _, tape = self.net.forward(self.params_, self.x, **self.more)
        tape.release()
        self.dy = np.ones_like(y)
        self.time_infer(name)
        self.time_train(name)

    def time_infer(self, name):
        self.net(self.params_, self.x, **self.more)

    def time_train(self, name):
        _, _, tape = self.net.forward(self.params_, self.x, **self.more)
        self.net.backward(self.params_, tape, self.dy)
        tape.release()
