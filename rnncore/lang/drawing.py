"""What it means to draw one of several classes: the NumPy meaning of the op."""

from __future__ import annotations

import numpy as np

__all__ = ["DRAW", "draw"]

DRAW = 4  # numbers that say how to draw: temperature, top-k, top-p, and one uniform in [0, 1)
_BELOW_ONE = 1 - 2.0**-53  # a uniform number rounded to the computing dtype may be 1


def draw(a, how):
    """One-hot rows drawn from softmax(a / temperature), cut to the k likeliest, then to the fewest of mass p.

    Temperature 0 takes the largest. Top-k: Fan, Lewis and Dauphin, ACL 2018; top-p: Holtzman et al., ICLR 2020.
    """
    a = np.real(a)
    temperature, k, p, u = np.moveaxis(np.broadcast_to(np.real(how), (*a.shape[:-1], DRAW)), -1, 0)[..., None]
    order = np.argsort(-a, axis=-1, kind="stable")
    ranked = np.take_along_axis(a, order, -1)
    hot = np.where(temperature > 0, temperature, 1)
    weights = np.where(np.arange(a.shape[-1]) < k, np.exp((ranked - ranked[..., :1]) / hot), 0)
    before = np.cumsum(weights, -1) - weights
    weights = np.where((before < p * weights.sum(-1, keepdims=True)) | (p >= 1), weights, 0)
    weights = np.where(temperature > 0, weights, np.arange(a.shape[-1]) == 0)
    kept = np.zeros_like(weights)
    np.put_along_axis(kept, order, weights, -1)
    total = np.cumsum(kept, -1)
    chosen = np.argmax(total > np.minimum(u, _BELOW_ONE) * total[..., -1:], -1)
    return (np.arange(a.shape[-1]) == chosen[..., None]).astype(a.dtype)
