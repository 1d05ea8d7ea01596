"""An affine map of rows, forward and back: the readout."""

from __future__ import annotations

from typing import Any

__all__ = ["affine", "affine_backward"]


def affine(rows: Any, v: Any, c: Any) -> Any:
    """rows @ v.T + c for rows (m, k), v (n, k), c (n,)."""
    return rows @ v.T + c


def affine_backward(d: Any, rows: Any, v: Any, dv: Any, dc: Any) -> Any:
    """Adjoint of the rows from that of the result; `dv` and `dc` are added to."""
    dv += d.T @ rows
    dc += d.sum(0)
    return d @ v
