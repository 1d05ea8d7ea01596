"""How long does a prediction take?"""

from .common import CELLS, SHAPES, case


class Bound:
    """A call with weights packed before (`Network.bind`)."""

    params = (CELLS, SHAPES)
    param_names = ("cell", "batch, time, inputs, units")
    version = "1"

    def setup(self, cell, shape):
        one = case(cell, shape)
        self.run, self.x = one.net.bind(one.params), one.x
        self.run(self.x)

    def time_call(self, cell, shape):
        self.run(self.x)


class Stream:
    """One step at a time, batch 1."""

    params = (CELLS, [16, 64, 256])
    param_names = ("cell", "units")
    version = "1"

    def setup(self, cell, units):
        one = case(cell, (1, 1, units, units))
        self.stream, self.x = one.net.stream(one.params), one.x[:, 0]
        self.stream.step(self.x)

    def time_step(self, cell, units):
        self.stream.step(self.x)
