"""A random matrix with orthonormal rows or columns, whichever are fewer, times `gain`.

Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear
neural networks, ICLR 2014; uniform over all such matrices by the signs of R:
Mezzadri, Notices of the AMS 54, 2007.
A vector counts as a matrix of one row: it gets length `gain`.
"""

import numpy as np

from rnncore.lang import initializer


@initializer
def orthogonal(shape, rng, *, gain=1.0):
    """Orthonormal rows or columns, whichever are fewer, times `gain`."""
    rows, columns = (1, 1, *shape)[-2:]
    q, r = np.linalg.qr(rng.standard_normal((*shape[:-2], max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    q = q if rows >= columns else np.swapaxes(q, -1, -2)
    return np.asarray(gain * q.reshape(shape))
