"""First-party components, one file each, found through the entry point that any plugin uses.

A new file in one of the folders is registered by being there.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from rnncore import hookimpl
from rnncore.lang import Component

from .defaults import rnncore_defaults as rnncore_defaults


def _gather(folder: str) -> list[Component]:
    """The components that the files of `folder` define."""
    names = [f.name for f in iter_modules([str(Path(__file__).parent / folder)])]
    modules = [import_module(f"{__name__}.{folder}.{name}") for name in names]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Component) and value.module == module.__name__
    ]


@hookimpl
def rnncore_cells():
    return _gather("cells")


@hookimpl
def rnncore_topologies():
    return _gather("topologies")


@hookimpl
def rnncore_scorers():
    return _gather("scorers")


@hookimpl
def rnncore_losses():
    return _gather("losses")


@hookimpl
def rnncore_optimizers():
    return _gather("optimizers")


@hookimpl
def rnncore_schedules():
    return _gather("schedules")


@hookimpl
def rnncore_initializers():
    return _gather("initializers")
