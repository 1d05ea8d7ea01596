"""Checks of single arguments that every part of the face makes."""

from __future__ import annotations

import operator
from typing import Any

__all__ = ["whole"]


def whole(value: Any, least: int) -> int | None:
    """`value` as an int if it is an integer of at least `least`; None otherwise. Booleans are no integers."""
    try:
        number = operator.index(value)
    except TypeError:
        return None
    return None if isinstance(value, bool) or number < least else number
