"""Biases of gates for a memory of up to `t_max` steps: b_f = log U(1, t_max - 1), b_i = -b_f.

Tallec and Ollivier, Can recurrent neural networks warp time?, ICLR 2018, equation 16. A gate of bias log(u) forgets
within about u steps; drawn for each unit, the times fill the range that dependencies may have.
"""

import numpy as np

from rnncore.lang import initializer


@initializer
def chrono(shapes, rng, *, t_max=None, forget="f", input="i"):
    """Biases of the gates that keep (`forget`) and that admit (`input`), for memories of up to `t_max` steps.

    For ``net.init(bias=...)``. The gates are named as in the equations, ``w.f(...)``. Where one gate does both, as z in
    h = (1 - z) h + z n, it is the `input`: b_z = -log U(1, t_max - 1). A layer without these gates stays as it is.
    """
    if t_max is None or not t_max > 2:
        raise ValueError(f"t_max must be a number of steps above 2, the longest dependency; got {t_max!r}")
    signs = {f"b_{gate}": sign for gate, sign in ((forget, 1.0), (input, -1.0)) if f"b_{gate}" in shapes}
    if len({shapes[name] for name in signs}) > 1:
        raise ValueError(f"{' and '.join(signs)} differ in size")
    if not signs:
        return {}
    logs = np.log(rng.uniform(1.0, t_max - 1.0, shapes[next(iter(signs))]))
    return {name: sign * logs for name, sign in signs.items()}
