"""How long do layers take on a GPU, and how far from the least time that it allows?"""

from .common import named, needs

ROWS = [(1, 100, 512, 512), (64, 100, 128, 128), (64, 100, 1024, 1024)]


class OnDevice:
    """float32, arrays on the device, timed by its own events."""

    params = (["lstm", "gru", "vanilla", "mgu"], list(map(named, ROWS)), ["infer", "train"])
    param_names = ("cell", "shape", "what")
    version = "1"
    timeout = 300

    def setup(self, cell, shape, what):
        needs("cupy", "numba_cuda", "torch")
        from .devices import at_hand

        self.device = at_hand()
        if self.device is None:
            raise NotImplementedError("needs a GPU")
        from .gpu_rows import one_of
        from .on_device import ours

        self.shape = next(s for s in ROWS if named(s) == shape)
        self.case = one_of(cell, self.shape)
        self.call = ours(self.case, None, "float32")[what]

    def track_seconds(self, cell, shape, what):
        from .on_device import in_turns_on_device

        return in_turns_on_device({"ours": self.call}, 3)["ours"]

    def track_times_floor(self, cell, shape, what):
        from .devices import floor, work

        least = floor(work(self.case.net, what), self.shape[0], self.shape[1], self.device)
        return self.track_seconds(cell, shape, what) / least
