"""Normal with standard deviation sqrt(2 / columns), which keeps variance through rectifiers.

He, Zhang, Ren and Sun, Delving deep into rectifiers, ICCV 2015, equation 10.
"""

import math

import numpy as np

from rnncore.lang import initializer


@initializer
def he_normal(shape, rng):
    """Normal with standard deviation sqrt(2 / columns), for rectifiers."""
    columns = shape[-1] if shape else 1
    return np.asarray(math.sqrt(2 / columns) * rng.standard_normal(shape))
