"""How long does one step at a time take?"""

from .common import CELLS, case


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
