"""Aligned buffers that are given back and used again: fresh large arrays cost page faults in every call."""

from __future__ import annotations

import ctypes
import os
import threading
from math import prod
from typing import Any

import numpy as np

__all__ = ["Buffer", "take", "empty", "zeros", "address_of"]

_ALIGN = 64
_KEEP_BYTES = 512 * 2**20
_LEND_BYTES = 2**16  # smaller arrays are the allocator's own affair


def address_of(array: np.ndarray) -> int:
    """Where an array's numbers start."""
    return array.__array_interface__["data"][0]


class Buffer:
    """`nbytes` of memory at an aligned `address`; `give_back` returns it for later calls."""

    __slots__ = ("raw", "address", "nbytes", "offset")
    raw: Any

    def __init__(self, raw: np.ndarray, nbytes: int):
        start = address_of(raw)
        self.raw, self.nbytes = raw, nbytes
        self.offset = -start % _ALIGN
        self.address = start + self.offset

    def array(self, shape: tuple[int, ...], dtype) -> np.ndarray:
        """The first bytes as an array."""
        n = prod(shape) * np.dtype(dtype).itemsize
        return self.raw[self.offset : self.offset + n].view(dtype).reshape(shape)

    def drop(self) -> None:
        """Let go of the memory, for nobody to use again; nor must the buffer be."""
        self.raw = None

    def give_back(self) -> None:
        """Return the memory; the buffer must not be used afterwards."""
        raw, self.raw = self.raw, None
        if raw is not None and _shelf is not None:  # which it is when the interpreter ends
            _shelf.put(raw)


class _Shelf:
    def __init__(self):
        self.lock = threading.RLock()  # a tape may be collected while memory is taken
        self.free: dict[int, list[np.ndarray]] = {}
        self.bytes = 0

    def get(self, size: int) -> np.ndarray | None:
        with self.lock:
            stack = self.free.get(size)
            if not stack:
                return None
            raw = stack.pop()
            self.bytes -= raw.nbytes
            return raw

    def put(self, raw: np.ndarray) -> None:
        with self.lock:
            if self.bytes + raw.nbytes <= _KEEP_BYTES:
                self.free.setdefault(raw.nbytes, []).append(raw)
                self.bytes += raw.nbytes
            elif raw.nbytes <= _KEEP_BYTES:  # keep what is in use now rather than what was once
                self.free = {raw.nbytes: [raw]}
                self.bytes = raw.nbytes


_shelf = _Shelf()


def _renew() -> None:
    global _shelf
    _shelf = _Shelf()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def take(nbytes: int, same: bool = False) -> Buffer:
    """A buffer of at least `nbytes`, its contents unknown; `same`: just that many are asked for again and again."""
    size = max(int(nbytes), 1) + _ALIGN
    step = _ALIGN if same else 1 << max(size.bit_length() - 4, 6)  # in sixteenths of a power of two they meet again
    size = -(-size // step) * step
    raw = _shelf.get(size)
    return Buffer(np.empty(size, np.uint8) if raw is None else raw, nbytes)


class _Loan:
    """Of memory to an array: when the array and all its views are gone, it is given back."""

    __slots__ = ("buffer",)

    def __init__(self, buffer: Buffer):
        self.buffer = buffer

    def __del__(self):
        self.buffer.give_back()


def empty(shape: tuple[int, ...], dtype) -> np.ndarray:
    """As ``numpy.empty``; a large array's memory is used again once the array is gone."""
    dtype = np.dtype(dtype)
    nbytes = prod(shape) * dtype.itemsize
    if nbytes < _LEND_BYTES:
        return np.empty(shape, dtype)
    buffer = take(nbytes)
    memory: Any = (ctypes.c_char * nbytes).from_address(buffer.address)  # as a buffer it may be locked and unlocked
    memory.loan = _Loan(buffer)
    return np.frombuffer(memory, dtype).reshape(shape)


def zeros(shape: tuple[int, ...], dtype) -> np.ndarray:
    """As ``numpy.zeros``; see `empty`."""
    array = empty(shape, dtype)
    array.fill(0)
    return array
