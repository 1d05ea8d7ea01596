"""The language of steps: what the equations of a cell, a scorer or a loss are written in."""

import difflib as _difflib

from ..errors import LanguageError
from . import functions as _functions
from .cell import Cell, Layer, cell
from .component import Bound, Component, initializer, loss, optimizer, schedule
from .functions import *  # noqa: F403
from .scorer import Scorer, scorer
from .trace import Step, constant
from .weights import Parameter, diag, identity, low_rank, mapped, scalar

__all__ = [
    *_functions.__all__, "Bound", "Cell", "Component", "Layer", "Parameter", "Step", "cell", "constant", "diag",
    "identity", "initializer", "loss", "low_rank", "mapped", "optimizer", "scalar", "schedule", "scorer", "Scorer",
]  # fmt: skip


class UnknownFunction(LanguageError, AttributeError):
    """The language has no function of this name."""


def __getattr__(name: str):
    if name.startswith("_"):
        raise AttributeError(name)
    near = _difflib.get_close_matches(name, __all__, 1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    ops = ", ".join(_functions.__all__)
    raise UnknownFunction(f"the language of steps has no {name!r}{hint}; its functions are: {ops}")
