"""Machine code of a kernel's text: made by numba, kept as object files, and linked by LLVM alone.

Lowered functions (`rnncore.cpu.lower`) need no numba to be linked: a process that finds its kernels on disk does not
import it, which would take most of its time.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["compile_text", "link"]

_NUMBAS = b"numba_gil_ensure"  # whatever calls numba's runtime calls this


def compile_text(name: str, text: str) -> tuple[dict[str, bytes], dict[str, str]]:
    """Compile a module's text, and return its object code. Nothing is read from a disk, or written to one.

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

    where = f"<{name}>"
    linecache.cache[where] = len(text), None, text.splitlines(True), where  # functions are asked for their source
    module = sys.modules[name] = ModuleType(name)
    try:
        exec(compile(text, where, "exec", dont_inherit=True), vars(module))
    finally:
        del sys.modules[name], linecache.cache[where]
    made: dict[str, Any] = {key: value for key, value in vars(module).items() if isinstance(value, CFunc)}
    objects = {key: value._library.serialize_using_object_code()[2][0] for key, value in made.items()}
    for key, code in objects.items():
        if _NUMBAS in code:
            raise RuntimeError(f"{key} of {name} calls numba's runtime: what is kept is made of lowered functions")
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
