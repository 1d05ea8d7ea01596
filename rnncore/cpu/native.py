"""Machine code of a kernel's text: made by numba, kept as object files, and linked by LLVM alone.

Lowered functions (`rnncore.cpu.lower`) need no numba to be linked: a process that finds its kernels on disk does not
import it, which would take most of its time.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

__all__ = ["compile_file", "link"]

_NUMBAS = b"numba_gil_ensure"  # whatever calls numba's runtime calls this


def compile_file(name: str, path: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Compile the module at `path`, and return its object code.

    Returns
    -------
    objects : dict of str to bytes
        By the names of the module's functions that are decorated with ``numba.cfunc``.
    symbols : dict of str to str
        What each of these is called in its object.

    Raises
    ------
    RuntimeError
        If one calls numba's runtime, which would have to be there when it is linked.
    """
    from numba.core.ccallback import CFunc

    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = write
        del sys.modules[name]
    made: dict[str, Any] = {key: value for key, value in vars(module).items() if isinstance(value, CFunc)}
    objects = {key: value._library.serialize_using_object_code()[2][0] for key, value in made.items()}
    for key, code in objects.items():
        if _NUMBAS in code:
            raise RuntimeError(f"{key} of {path} calls numba's runtime: what is kept is made of lowered functions")
    return objects, {key: value.native_name for key, value in made.items()}


def link(objects: Mapping[str, bytes], symbols: Mapping[str, str]) -> SimpleNamespace:
    """Load object code into this process.

    Returns
    -------
    SimpleNamespace
        For each function its name, with its ``address``.
    """
    import llvmlite.binding as llvm

    engine = _engine()
    for code in objects.values():
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    found = {key: SimpleNamespace(address=engine.get_function_address(symbol)) for key, symbol in symbols.items()}
    return SimpleNamespace(**found)


@lru_cache(maxsize=1)
def _engine():
    """What holds the machine code of this process."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
