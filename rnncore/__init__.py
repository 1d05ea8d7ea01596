"""rnncore: recurrent networks from equations, compiled loops forward and back through time."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .cpu.limits import announce

__version__ = "0.1.0"

# name -> module that holds it; numba, scipy and matplotlib are imported only when something needs them
_LAZY = {
    "Network": "network",
    "Params": "params",
    "Tokens": "inputs",
    "diagnose": "diagnosis",
    "explain": "explanation",
    "generate": "generation",
    "hookimpl": "hookspecs",
    "register": "registry",
    "cells": "registry",
    "topologies": "registry",
    "scorers": "registry",
    "losses": "registry",
    "optimizers": "registry",
    "schedules": "registry",
    "initializers": "registry",
    "RnncoreError": "errors",
    "InputError": "errors",
    "LanguageError": "errors",
    "PluginError": "errors",
    "FileError": "errors",
}
_MODULES = ("train", "data", "lang", "combine", "reference")

__all__ = [*_LAZY, *_MODULES, "__version__"]

if TYPE_CHECKING:
    from .diagnosis import diagnose
    from .errors import FileError, InputError, LanguageError, PluginError, RnncoreError
    from .explanation import explain
    from .generation import generate
    from .hookspecs import hookimpl
    from .inputs import Tokens
    from .network import Network
    from .params import Params
    from .registry import cells, initializers, losses, optimizers, register, schedules, scorers, topologies

announce()


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'rnncore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
