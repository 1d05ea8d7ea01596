"""From a compiler's code to a device's machine code, without a device, and what the linker says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Report", "linked"]


@dataclass(frozen=True)
class Report:
    """What a kernel was compiled to for one capability.

    Attributes
    ----------
    name : str
        Of the kernel in the code.
    ptx : str
    cubin : bytes
        The machine code.
    registers : int
        Of a thread.
    spill_stores, spill_loads : int
        Bytes of registers that went to memory, and came from there.
    stack_bytes : int
        Of a thread.
    shared_bytes : int
        Of a block, besides what a launch asks for, and what the device keeps to itself (1 KiB from capability 9.0 on).
    float64_instructions : int
        In the PTX.
    """

    name: str
    ptx: str
    cubin: bytes
    registers: int
    spill_stores: int
    spill_loads: int
    stack_bytes: int
    shared_bytes: int
    float64_instructions: int


def linked(code: bytes, capability: tuple[int, int]) -> Report:
    """Machine code for devices of a capability, by nvJitLink, which holds the assembler of PTX.

    Parameters
    ----------
    code : bytes
        What NVVM keeps for optimization at link time. From PTX nvJitLink makes code that may be linked to more: what
        lives across the assembler's own subroutines (quotients, exchanges of lanes that branches may have parted) then
        keeps to the few registers that any function leaves as they are, and the others spill. The linked whole is
        assembled as a whole.

    Raises
    ------
    ImportError
        If nvJitLink is not installed.
    RuntimeError
        If it does not take the code: with its notes.
    """
    ptx = _made(code, capability, "-ptx")[0].decode().rstrip("\0")
    cubin, notes = _made(code, capability)
    name = re.search(r"\.visible \.entry (\w+)\(", ptx)
    assert name is not None
    return Report(
        name=name[1],
        ptx=ptx,
        cubin=cubin,
        registers=_number(r"Used (\d+) registers", notes),
        spill_stores=_number(r"(\d+) bytes spill stores", notes),
        spill_loads=_number(r"(\d+) bytes spill loads", notes),
        stack_bytes=_number(r"(\d+) bytes stack frame", notes),
        shared_bytes=_number(r"(\d+) bytes smem", notes),
        float64_instructions=len(re.findall(r"^\s+(?:@\S+ )?\w[\w.]*\.f64", ptx, re.MULTILINE)),
    )


def _number(pattern: str, notes: str) -> int:
    """The sum of what the notes say: of the kernel, and of functions that were not put in place."""
    return sum(int(found) for found in re.findall(pattern, notes))


def _made(code: bytes, capability: tuple[int, int], *options: str) -> tuple[bytes, str]:
    """PTX or machine code, and notes."""
    from cuda.bindings import nvjitlink

    given = [f"-arch=sm_{capability[0]}{capability[1]}", "-lto", "-verbose", *options]
    handle = nvjitlink.create(len(given), given)
    try:
        try:
            nvjitlink.add_data(handle, nvjitlink.InputType.LTOIR, code, len(code), "kernel")
            nvjitlink.complete(handle)
        except nvjitlink.nvJitLinkError as error:
            notes = bytearray(nvjitlink.get_error_log_size(handle))
            nvjitlink.get_error_log(handle, notes)
            raise RuntimeError(f"the linker does not take a kernel's code: {notes.decode()}") from error
        size, get = nvjitlink.get_linked_cubin_size, nvjitlink.get_linked_cubin
        if "-ptx" in options:
            size, get = nvjitlink.get_linked_ptx_size, nvjitlink.get_linked_ptx
        made = bytearray(size(handle))
        get(handle, made)
        notes = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, notes)
        return bytes(made), notes.decode()
    finally:
        nvjitlink.destroy(handle)
