"""What parameters go through outside of the loop, forward and back: computed once a call, by the interpreter.

Values keep the kind of array that the parameters are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..lang.trace import Step
from ..plan.adjoint import adjoint_of, boundary_of
from .interpreter import Program

__all__ = ["call_values", "direct_gradients", "parameter_gradients", "parameter_roots"]


@lru_cache(maxsize=512)
def _boundary(step: Step) -> Program | None:
    """How to compute the call-level nodes that the step reads and that are no parameters themselves."""
    computed = {str(n.id): n for n in boundary_of(step) if n.op != "leaf"}
    return Program(computed) if computed else None


def call_values(step: Step, params: Mapping[str, Any], sizes: Mapping[Any, int], dtype: str, put=None):
    """Values of the call-level nodes that the step reads and that are no parameters themselves, by node id.

    `put` brings host arrays to where the parameters are; None where that is the host.
    """
    program = _boundary(step)
    values: dict[int, Any] = {}
    if program is not None:
        leaves: dict[tuple[str, str], Any] = {("array", k): put(v) if put else v for k, v in step.arrays.items()}
        leaves |= {("param", p.name): params[p.name] for p in step.params}
        for key, value in program(leaves, sizes).items():
            host = put is None or isinstance(value, (np.ndarray, np.generic))
            made = np.ascontiguousarray(value, dtype=dtype) if host else value.astype(dtype)
            values[int(key)] = put(made) if put and host else made
    return values


@lru_cache(maxsize=512)
def _reverse_program(step: Step) -> tuple[frozenset[str], Program | None]:
    """Parameters whose gradient the loop gives directly, and how to compute the others'."""
    roots = adjoint_of(step).call_roots
    direct = frozenset(k for k, n in roots.items() if n.op == "leaf" and n.attrs == ("grad", k))
    others = {k: n for k, n in roots.items() if k not in direct}
    return direct, Program(others) if others else None


def direct_gradients(step: Step) -> frozenset[str]:
    """Call-level values of the loop that are parameters and reach it in no other way."""
    return _reverse_program(step)[0]


def parameter_roots(step: Step) -> bool:
    """Whether raw parameters reach the loop through functions of their own."""
    return _reverse_program(step)[1] is not None


def parameter_gradients(step: Step, params, sizes, sums: Mapping[str, Any], put=None) -> dict[str, Any]:
    """Gradients of raw parameters that reach the loop through a function of their own (`put`: see `call_values`)."""
    _, program = _reverse_program(step)
    if program is None:
        return {}
    leaves: dict[tuple[str, str], Any] = {("array", k): put(v) if put else v for k, v in step.arrays.items()}
    leaves |= {("param", p.name): params[p.name] for p in step.params}
    leaves |= {("grad", name): sums[name] for name in sums}
    return program(leaves, sizes)
