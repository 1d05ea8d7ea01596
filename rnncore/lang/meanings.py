"""What ops compute of NumPy's arrays, where NumPy has no function for it; safe under a complex step."""

from __future__ import annotations

import numpy as np

__all__ = ["absolute", "choose", "eye", "maximum", "minimum", "relu", "rmax", "sigmoid", "softplus"]


def sigmoid(a):
    """1 / (1 + exp(-a)), without overflow."""
    e = np.exp(np.where(np.real(a) < 0, a, -a))
    return np.where(np.real(a) < 0, e, 1) / (1 + e)


def softplus(a):
    """log(1 + exp(a)), without overflow."""
    return np.where(np.real(a) > 0, a, 0) + np.log1p(np.exp(np.where(np.real(a) > 0, -a, a)))


def choose(condition, a, b):
    """a where the condition holds, complex-step safe, keeping NaN of either argument."""
    return np.where(condition, a, b)


def maximum(a, b):
    """The larger by the real part; NaN of either argument."""
    return choose((np.real(a) >= np.real(b)) | np.isnan(np.real(a)), a, b)


def minimum(a, b):
    """The smaller by the real part; NaN of either argument."""
    return choose((np.real(a) <= np.real(b)) | np.isnan(np.real(a)), a, b)


def eye(a):
    """The identity of a's shape, made of a's own kind of array."""
    ones = np.ones_like(a)
    return np.where(np.cumsum(ones, 0) == np.cumsum(ones, 1), ones, 0)


def rmax(a):
    """The largest by the real part along the last axis; minus infinity of none."""
    if not a.shape[-1]:  # what every number is larger than
        return np.full(a.shape[:-1], -np.inf)
    return np.take_along_axis(a, np.argmax(np.real(a), axis=-1, keepdims=True), -1)[..., 0]


def relu(a):
    """a where its real part is positive, else 0; NaN of NaN."""
    return np.where((np.real(a) > 0) | np.isnan(np.real(a)), a, 0)


def absolute(a):
    """a, or -a where its real part is negative."""
    return np.where(np.real(a) < 0, -a, a)
