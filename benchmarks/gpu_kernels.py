"""The kernels of a GPU's rows, compiled on all processors before anything is timed: one by one it would take longer."""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import product

from .devices import Device
from .gpu_rows import network

__all__ = ["compiled_ahead"]


def compiled_ahead(options: argparse.Namespace, device: Device) -> int:
    """Compile what the rows launch, into the folder that the engine looks in. How many kernels these are."""
    sizes = sorted({(shape[3], shape[0]) for shape in (*options.shapes, *options.ragged)})
    jobs = list(product(options.cells, sizes, options.precisions, options.what, [device]))
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        texts = sorted(set().union(*pool.map(texts_of, jobs)))
        list(pool.map(compile_one, product(texts, [device.capability])))
    return len(texts)


def texts_of(job: tuple[str, tuple[int, int], str, str, Device]) -> set[str]:
    """The texts of a row's kernels."""
    from .kernels.launches import launches

    cell, (units, batch), precision, what, device = job
    products = "" if precision == "float32" else precision
    found = launches(network(cell, units), batch, device.properties(), products, what)
    return {one.text for one in found.values()}


def compile_one(job: tuple[str, tuple[int, int]]) -> None:
    """Compile a text for a capability, and keep the machine code."""
    from rnncore.cuda.loaded import code_of

    code_of(*job)
