"""How fast is each cell, against the machine, an LSTM and other libraries?"""

from .common import TURN, case, in_turns, multiply_adds, needs

NAMES = ["vanilla", "gru", "lstm", "ugrnn", "mgu", "indrnn", "lem", "cornn"]  # the last five are our users' own
CUSTOM = NAMES[3:]
SHAPE = (32, 100, 128, 128)
WHAT = ["infer", "train"]


def one_of(name):
    from .custom import randomised
    from .peers.custom import CUSTOM

    return randomised(case(CUSTOM[name].cell if name in CUSTOM else name, SHAPE))


class Cells:
    """A batch of 32, 128 units."""

    params = (NAMES, WHAT)
    param_names = ("cell", "what")
    version = "1"

    def setup(self, name, what):
        from .compare import ours

        self.case = one_of(name)
        self.call = ours(self.case)[what]
        self.call()

    def time_call(self, name, what):
        self.call()

    def track_share_of_peak(self, name, what):
        from .compare import WHAT as TIMES
        from .machine import Peak

        peak = Peak(2)
        peak.measure()
        seconds = in_turns({"ours": self.call}, 3, least=TURN)["ours"]
        return 2 * TIMES[what] * SHAPE[0] * SHAPE[1] * multiply_adds(self.case) / seconds / peak.value


class Custom:
    """How many times faster than the same equations elsewhere, called in turns."""

    params = (CUSTOM, WHAT)
    param_names = ("cell", "what")
    version = "1"
    timeout = 300

    def setup(self, name, what):
        needs("jax", "torch")

    def ratio(self, peer, name, what):
        from .compare import ours
        from .peers.custom import CUSTOM, calls

        one = one_of(name)
        both = {"ours": ours(one)[what], "theirs": calls(peer, CUSTOM[name], one, 2)[what]}
        seconds = in_turns(both, 3, least=TURN)
        return seconds["theirs"] / seconds["ours"]

    def track_jax_scan(self, name, what):
        return self.ratio("jax", name, what)

    def track_torch_loop(self, name, what):
        return self.ratio("torch", name, what)
