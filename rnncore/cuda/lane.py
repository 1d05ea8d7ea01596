"""A number in a device's code."""

from __future__ import annotations

from ..vecmath import Lane

__all__ = ["DeviceLane"]


class DeviceLane(Lane):
    """A number on a device, whose compiler takes neither ``fneg`` nor ``llvm.fabs``."""

    def __neg__(self):
        return self._new(self.b.fsub(self.const(-0.0), self.v))

    def abs(self):
        return self.as_int().iand((1 << self.bits - 1) - 1).as_float()
