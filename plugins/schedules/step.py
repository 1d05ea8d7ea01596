"""Step decay: the factor is multiplied by `factor` at given fractions of the run.

He, Zhang, Ren and Sun, Deep residual learning for image recognition, CVPR 2016, section 4.2
(a tenth at 1/2 and 3/4).
"""

from rnncore.lang import schedule


@schedule
def step(t, total, *, at=(0.5, 0.75), factor=0.1):
    """Multiplied by `factor` at each fraction of the run in `at`."""
    return factor ** sum(t >= fraction * total for fraction in at)
