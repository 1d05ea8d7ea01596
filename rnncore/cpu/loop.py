"""One layer's loop on the CPU: kernels of a step, weights packed for them, memory, and the call."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Mapping

import numpy as np

from ..lang.graph import Node
from ..lang.trace import Step
from ..plan.adjoint import adjoint_of, boundary_name, boundary_of
from ..plan.schedule import ONE, Plan, Product, schedule
from ..plan.split import split_of
from ..reference.interpreter import evaluate
from .emit import Kernel, emit
from .library import FUNCTIONS, library_text
from .machine import host
from .memory import address_of
from .store import load_module

__all__ = ["Compiled", "LoopWeights", "compiled", "functions", "plan_of", "pack_product"]


@dataclass(frozen=True, eq=False)
class Compiled:
    """A kernel ready to run, and what its tables must hold."""

    kernel: Kernel
    run: Any
    dtype: str

    @property
    def plan(self) -> Plan:
        return self.kernel.plan


@lru_cache(maxsize=4)
def functions(dtype: str) -> dict[str, int]:
    """Addresses of the product library's functions."""
    module = load_module(library_text(dtype, host()))
    return {name: getattr(module, name).address for name in FUNCTIONS}


@lru_cache(maxsize=512)
def plan_of(step: Step, which: str) -> Plan:
    """The plan of a step: ``"infer"``, ``"forward"`` or ``"backward"``."""
    order = {p.name: k for k, p in enumerate(step.params)}
    sizes = {n: _dim(step, n) for n in step.inputs}
    if which == "backward":
        split = split_of(step)
        roots: dict[str, Node] = {}
        for s in step.states:
            roots[f"next.{s}"] = split.roots.get(f"d.{s}", step.graph.const(0.0))
        for key, node in split.roots.items():
            if key.startswith("d.") and key[2:] in step.inputs:
                roots[f"out.{key}"] = node
            elif key.startswith("p."):
                roots[f"sum.{key[2:]}"] = node
        saved = {k: n.shape[0] if n.shape else ONE for k, n in split.saved.items()}
        return schedule(step.name, roots, reverse=True, states=_states(step), inputs=sizes,
                        history=split.history, saved=saved, order=order)  # fmt: skip
    roots = {f"next.{s}": n for s, n in step.next_states.items()} | {"out.y": step.output}
    history: tuple[str, ...] = ()
    saved = {}
    if which == "forward":
        split = split_of(step)
        roots |= {f"save.{k}": n for k, n in split.saved.items()}
        history, saved = split.history, {k: n.shape[0] if n.shape else ONE for k, n in split.saved.items()}
    return schedule(step.name, roots, reverse=False, states=_states(step), inputs=sizes,
                    history=history, saved=saved, order=order)  # fmt: skip


def _states(step: Step) -> dict[str, Any]:
    return {s: step.dims[s] for s in step.states}


def _dim(step: Step, name: str):
    return step.dims[name]


_compiled: dict[tuple, Compiled] = {}
_lock = threading.Lock()


def compiled(step: Step, which: str, dtype: str) -> Compiled:
    """The kernel of a step; compiled once, shared by structure."""
    key = (step, which, dtype)
    found = _compiled.get(key)
    if found is None:
        with _lock:
            if key not in _compiled:
                kernel = emit(plan_of(step, which), dtype, host().lanes(dtype))
                _compiled[key] = Compiled(kernel, load_module(kernel.text).kernel, dtype)
            found = _compiled[key]
    return found


@dataclass(eq=False)
class LoopWeights:
    """What one kernel reads of the parameters: packed matrices, padded vectors, numbers, constants."""

    addresses: dict[str, int]
    constants: np.ndarray
    kept: list = field(default_factory=list)


def call_values(step: Step, params: Mapping[str, np.ndarray], sizes: Mapping[Any, int], dtype: str):
    """Values of the call-level nodes that the step reads, by node id."""
    boundary = boundary_of(step)
    leaves: dict[tuple[str, str], Any] = {("array", k): v for k, v in step.arrays.items()}
    leaves |= {("param", p.name): params[p.name] for p in step.params}
    roots = {str(n.id): n for n in boundary}
    values = evaluate(roots, leaves, sizes)
    return {n.id: np.ascontiguousarray(values[str(n.id)], dtype=dtype) for n in boundary}


def pack_weights(code: Compiled, values: Mapping[int, np.ndarray], sizes: Mapping[Any, int]) -> LoopWeights:
    """Lay out call-level values as a kernel reads them."""
    count = host().lanes(code.dtype)
    kernel, dtype = code.kernel, np.dtype(code.dtype)
    made = LoopWeights({}, np.zeros(len(kernel.constants) + 1, dtype))
    for k, product in enumerate(kernel.packs):
        packed, bias = pack_product(product, values, sizes, code.dtype)
        made.kept += [packed, bias]
        made.addresses[f"pack.{k}"] = address_of(packed)
        made.addresses[f"bias.{k}"] = address_of(bias)
    for name, node in kernel.vectors.items():
        value = values[node.id]
        padded = np.zeros(-(-sizes[node.shape[0]] // count) * count, dtype)
        padded[: sizes[node.shape[0]]] = value
        made.kept.append(padded)
        made.addresses[name] = address_of(padded)
    for name, node in kernel.numbers.items():
        number = np.full(1, values[node.id], dtype)
        made.kept.append(number)
        made.addresses[name] = address_of(number)
    for k, node in enumerate(kernel.constants):
        made.constants[k] = node.value if node.op == "const" else sizes[node.attrs[0]]
    return made


def pack_product(product: Product, values, sizes, dtype: str):
    """A product's matrices as panels, and the row its slots start from."""
    count = host().lanes(dtype)
    pad = lambda n: -(-n // count) * count  # noqa: E731
    ks = [sizes[v.shape[0]] for v in product.operands]
    ns = [sizes[s.dim] for s in product.slots]
    several = len(ks) > 1
    total_k = sum(pad(k) for k in ks) if several else ks[0]
    total_n = sum(pad(n) for n in ns)
    packed = np.zeros(max(total_k * total_n, 1), dtype)
    bias = np.zeros(max(total_n, 1), dtype)
    pack = _pack_function(dtype)
    k0 = 0
    for i, k in enumerate(ks):
        n0 = 0
        for j, n in enumerate(ns):
            matrix, transposed = product.blocks[i, j]
            w = values[matrix.id]
            by_row, by_column = w.strides
            stride_k, stride_n = (by_row, by_column) if transposed else (by_column, by_row)
            pack(address_of(packed), address_of(w), stride_k, stride_n, k, n, k0, n0, total_k, total_n, 0, 0, 0, 0, 0, 0)
            n0 += pad(n)
        k0 += pad(k) if several else k
    if product.first:
        n0 = 0
        for slot, n in zip(product.slots, ns):
            if slot.bias is not None:
                bias[n0 : n0 + n] = values[slot.bias.id]
            n0 += pad(n)
    return packed, bias


@lru_cache(maxsize=4)
def _pack_function(dtype: str):
    import ctypes

    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 16)(functions(dtype)["pack"])


def parameter_gradients(step: Step, params, sizes, sums: Mapping[str, np.ndarray], dtype) -> dict[str, np.ndarray]:
    """Gradients of raw parameters that reach the loop through a function of their own."""
    adjoint = adjoint_of(step)
    leaves: dict[tuple[str, str], Any] = {("array", k): v for k, v in step.arrays.items()}
    leaves |= {("param", p.name): params[p.name] for p in step.params}
    for name, node in adjoint.boundary.items():
        leaves["grad", name] = sums[name]
    roots = {
        k: n for k, n in adjoint.call_roots.items() if not (n.op == "leaf" and n.attrs == ("grad", k))
    }
    return evaluate(roots, leaves, sizes)


__all__ += ["call_values", "pack_weights", "parameter_gradients", "boundary_name"]
