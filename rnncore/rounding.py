"""What a device may round."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EXACT", "Rounding"]


class Rounding(NamedTuple):
    """What a GPU may round, of float32 numbers (see `rnncore.Params.to`): empty, as little as it can."""

    products: str = ""
    functions: str = ""


EXACT = Rounding()
