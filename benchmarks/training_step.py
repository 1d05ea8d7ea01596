"""How long do the forward pass that keeps a tape, and a whole training step, take?"""

from .common import CELLS, SHAPES, case


class Step:
    """Forward, and forward with backward: every gradient, that of x too; weights packed anew."""

    params = (CELLS, SHAPES)
    param_names = ("cell", "batch, time, inputs, units")
    version = "1"

    def setup(self, cell, shape):
        self.case = case(cell, shape)
        self.time_forward_and_backward(cell, shape)

    def time_forward(self, cell, shape):
        _, _, tape = self.case.net.forward(self.case.params, self.case.x)
        tape.release()

    def time_forward_and_backward(self, cell, shape):
        one = self.case
        _, _, tape = one.net.forward(one.params, one.x)
        one.net.backward(one.params, tape, one.dy)
        tape.release()
