"""What is registered: an immutable value, collected once from entry points, swapped by `register`.

There is no global plugin manager. Each plugin is read by a small manager of its own, so that
none can disturb another, and what it gives is copied into a `Registry`.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from .discovery import checked, components_of, import_file, read_plugin, told
from .entries import Entry, Failure, Registry, clash, frozen
from .errors import PluginError
from .forking import renewed
from .hookspecs import KINDS, PROJECT
from .lang.component import Component

__all__ = [
    "Namespace", "PluginWarning", "build", "cells", "current", "initializers", "load_file", "losses",
    "optimizers", "register", "schedules", "scorers", "topologies",
]  # fmt: skip


class PluginWarning(UserWarning):
    """A plugin is broken; it was skipped and everything else works."""


def build(points: Iterable[EntryPoint] | None = None) -> Registry:
    """Collect a registry from entry points, those of the group ``rnncore`` by default.

    Nothing is raised and nothing warned: a plugin that cannot be imported, misspells a hook,
    raises in one or returns what is no component is skipped, and stands in ``failures``.
    """
    entries: dict[str, dict[str, tuple[Entry, ...]]] = {kind: {} for kind in KINDS}
    topics: dict[str, dict[str, Any]] = {}
    failures = []
    for point in sorted(entry_points(group=PROJECT) if points is None else points, key=_order):
        provider = point.dist.name if point.dist else point.name
        version = point.dist.version if point.dist else None
        try:
            components, values, errors = read_plugin(point.load(), point.value)
        except (Exception, SystemExit) as error:
            failures.append(Failure(provider, told(error)))
            continue
        failures += [Failure(provider, e) for e in errors]
        for component in components:
            claims = entries[component.kind].get(component.name, ())
            if not any(claim.value.fn is component.fn for claim in claims):
                entries[component.kind][component.name] = (*claims, Entry(component, provider, version))
        taken = _add_defaults(topics, values)
        failures += [Failure(provider, f"the default {key!r} is given already") for key in taken]
    for kind, names in entries.items():
        clashes = {name: claims for name, claims in names.items() if len(claims) > 1}
        failures += [_failed_clash(f"{kind} {name!r}", claims) for name, claims in clashes.items()]
    return Registry(frozen(entries), frozen(topics), tuple(failures))


_lock = renewed(threading.RLock())
_current: Registry | None = None


def current() -> Registry:
    """The registry in use, collected from entry points on the first call; warns of what failed then."""
    global _current
    if _current is None:
        with _lock:
            if _current is None:
                _current = build()
                for failure in _current.failures:
                    warnings.warn(f"{failure}; everything else works", PluginWarning, stacklevel=3)
    return _current


def register(plugin: Any) -> Any:
    """Register components for this process.

    Parameters
    ----------
    plugin : Component, module, or list of components
        Of a module every component at its top level counts, and what its hooks return.

    Returns
    -------
    plugin : the same object, so that ``@rn.register`` may stand above ``@cell``.

    Raises
    ------
    PluginError
        If a name is taken by a component of another module or qualified name (both are
        named), a hook is misspelt, or something is no component.

    Examples
    --------
    >>> import rnncore as rn
    >>> from rnncore.lang import cell, tanh
    >>> @rn.register
    ... @cell
    ... def decaying(w, x, h):
    ...     return 0.9 * h + tanh(w.h(x))
    >>> rn.cells.decaying is decaying
    True
    """
    if isinstance(plugin, ModuleType):
        provider, components = plugin.__name__, components_of(plugin)
    else:
        provider = f"{PROJECT}.register"
        components = [plugin] if isinstance(plugin, Component) else plugin
    _add(checked(components, None, f"{PROJECT}.register"), provider)
    return plugin


def load_file(path: str | Path) -> ModuleType:
    """Import a file of the user's own and register every component at its top level.

    Parameters
    ----------
    path : str or path
        A Python file; it need not be a package nor mark hooks. Loading it again replaces.

    Returns
    -------
    module : the imported module, with a name made from the path, in ``sys.modules``.

    Raises
    ------
    PluginError
        If it is no file, cannot be imported (the text gives the file and line), defines no
        component, or takes a name that is taken.
    LanguageError
        If an equation is wrong where it is defined.
    """
    module = import_file(path)
    components = components_of(module)
    if not components:
        raise PluginError(f"{path} defines no component: expected a function under @cell, or another kind")
    _add(components, str(path))
    return module


class Namespace:
    """The components of one kind, by attribute: ``cells.name``.

    Examples
    --------
    >>> from rnncore.registry import Namespace
    >>> losses = Namespace("loss")
    >>> "no_such_loss" in losses
    False
    """

    def __init__(self, kind: str):
        self._kind = kind

    def __getattr__(self, name: str) -> Component:
        if name.startswith("_"):
            raise AttributeError(name)
        return current().get(self._kind, name)

    def __getitem__(self, name: str) -> Component:
        return current().get(self._kind, name)

    def __contains__(self, name: object) -> bool:
        return name in current().entries[self._kind]

    def __iter__(self) -> Iterator[str]:
        return iter(current().names(self._kind))

    def __len__(self) -> int:
        return len(current().entries[self._kind])

    def __dir__(self) -> list[str]:
        return current().names(self._kind)

    def __repr__(self) -> str:
        return f"<registered {self._kind}: {', '.join(self)}>"


def _add(components: Iterable[Component], provider: str) -> None:
    global _current
    with _lock:
        _current = current().with_components(components, provider)


def _order(point: EntryPoint) -> tuple[bool, str, str]:
    """The project's own plugins first: the defaults that they give stay."""
    name = point.dist.name if point.dist else ""
    return (name != PROJECT, name, point.name)


def _add_defaults(topics: dict[str, dict[str, Any]], values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Add what is new, and say what was there."""
    taken = [f"{topic}: {k}" for topic, given in values.items() for k in given if k in topics.get(topic, ())]
    for topic, given in values.items():
        topics[topic] = {**given, **topics.get(topic, {})}
    return taken


def _failed_clash(what: str, claims: tuple[Entry, ...]) -> Failure:
    return Failure(", ".join(claim.provider for claim in claims), clash(what, claims))


cells = Namespace("cell")
topologies = Namespace("topology")
scorers = Namespace("scorer")
losses = Namespace("loss")
optimizers = Namespace("optimizer")
schedules = Namespace("schedule")
initializers = Namespace("initializer")
