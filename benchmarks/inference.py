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
