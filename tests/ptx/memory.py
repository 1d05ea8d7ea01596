"""The memory of a launch: the arrays it is given, far from one another, and what its blocks and threads have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["AccessError", "Global", "Own"]

_ALIGNED = 16  # bytes: no access has more
_FAR = 40  # bits of an address within an array


class AccessError(RuntimeError):
    """An access outside of all arrays, or at an address that is no multiple of its size."""


class Global:
    """Arrays of the host, copied, under addresses of their own.

    Parameters
    ----------
    arrays : sequence of ndarray
        Contiguous; the addresses of their first bytes are kept, modulo 16.
    """

    def __init__(self, arrays: Sequence[np.ndarray]):
        self._arrays, self.addresses = arrays, []
        self._sizes, self._shifts, parts, at = [0], [0], [], 0
        for number, array in enumerate(arrays, 1):
            odd = array.ctypes.data % _ALIGNED
            room = -(-(odd + array.nbytes) // _ALIGNED) * _ALIGNED
            part = np.zeros(room, np.uint8)
            part[odd : odd + array.nbytes] = array.reshape(-1).view(np.uint8)
            self.addresses.append((number << _FAR) + odd)
            self._sizes.append(array.nbytes)
            self._shifts.append(at)
            parts.append(part)
            at += room
        self.data = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
        self._ends = np.array([0, *[a % _ALIGNED + n for a, n in zip(self.addresses, self._sizes[1:])]])
        self._starts = np.array([0, *[a % _ALIGNED for a in self.addresses]])
        self._shift = np.array(self._shifts)

    def places(self, addresses: np.ndarray, size: int, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where bytes lie in `data`, and which accesses are wrong."""
        number, at = addresses >> _FAR, addresses & (1 << _FAR) - 1
        known = (number > 0) & (number < len(self._ends))
        number = np.where(known, number, 0)
        wrong = ~known | (at < self._starts[number]) | (at + size > self._ends[number])
        return self._shift[number] + at, wrong

    def back(self) -> None:
        """Copy what the kernel wrote to the host's arrays."""
        for array, address, at in zip(self._arrays, self.addresses, self._shifts[1:]):
            first = at + address % _ALIGNED
            array.reshape(-1).view(np.uint8)[...] = self.data[first : first + array.nbytes]


class Own:
    """Memory of which every block, or every thread, has its own, under the same addresses.

    It holds no numbers until they are written.
    """

    def __init__(self, owners: np.ndarray, size: int, first: int = 1024):
        self._owners, self._size, self.first = owners, size, first
        self._room = -(-size // _ALIGNED) * _ALIGNED
        many = int(owners.max(initial=-1)) + 1
        self.data = np.full(many * self._room, 255, np.uint8)

    def places(self, addresses: np.ndarray, size: int, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Global.places`, for the threads of those numbers."""
        at = addresses - self.first
        return self._owners[lanes] * self._room + at, (at < 0) | (at + size > self._size)
