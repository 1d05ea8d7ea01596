"""What is registered: an immutable value, collected once from entry points, swapped by `register`.

There is no global plugin manager. Each plugin is read by a small manager of its own, so that
none can disturb another, and what it gives is copied into a `Registry`.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from .discovery import checked, components_of, import_file, read_plugin, told
from .errors import InputError, PluginError
from .hookspecs import KINDS, PROJECT
from .lang.component import Component

__all__ = [
    "Entry", "Failure", "Namespace", "PluginWarning", "Registry", "UnknownName",
    "build", "current", "load_file", "register",
]  # fmt: skip


class PluginWarning(UserWarning):
    """A plugin is broken; it was skipped and everything else works."""


class UnknownName(InputError, AttributeError):
    """No component of that kind has that name; an `AttributeError` too, so that `hasattr` works."""


@dataclass(frozen=True)
class Entry:
    """One claim of a name: the component, or a default's value, and where it comes from.

    Parameters
    ----------
    value : Component or plain value
    provider : str
        The distribution, the file, or ``"rnncore.register"``.
    version : str or None
        Of the distribution.
    """

    value: Any
    provider: str
    version: str | None = None

    @property
    def origin(self) -> str:
        """``file:line`` of the component, or the name of its provider."""
        if isinstance(self.value, Component):
            return f"{self.value.filename}:{self.value.lineno}"
        return self.provider

    def __str__(self) -> str:
        return f"{self.provider} ({self.origin})" if self.origin != self.provider else self.provider


@dataclass(frozen=True)
class Failure:
    """A plugin, or a part of it, that was skipped."""

    provider: str
    error: str

    def __str__(self) -> str:
        return f"plugin {self.provider!r}: {self.error}"


@dataclass(frozen=True)
class Registry:
    """Every component by kind and name, the command's defaults, and what failed.

    A name maps to a tuple of entries; more than one is a clash, which is an error where
    that name is looked up and leaves every other name working.
    """

    entries: Mapping[str, Mapping[str, tuple[Entry, ...]]]
    defaults: Mapping[str, tuple[Entry, ...]]
    failures: tuple[Failure, ...] = ()

    def names(self, kind: str) -> list[str]:
        """The registered names of a kind, sorted."""
        return sorted(self.entries[kind])

    def entry(self, kind: str, name: str) -> Entry:
        """The entry of a name.

        Raises
        ------
        UnknownName
            With the choices and the nearest one.
        PluginError
            If two providers claim the name; names both.
        """
        claims = self.entries[kind].get(name)
        if not claims:
            raise UnknownName(_unknown(kind, name, self.names(kind)))
        if len(claims) > 1:
            raise PluginError(_clash(f"{kind} {name!r}", claims))
        return claims[0]

    def get(self, kind: str, name: str) -> Component:
        """The component of a name; raises as `entry`."""
        return self.entry(kind, name).value

    def default(self, key: str, fallback: Any = None) -> Any:
        """A default of the command, `fallback` where no plugin gives one; a clash is a `PluginError`."""
        claims = self.defaults.get(key)
        if not claims:
            return fallback
        if len(claims) > 1:
            raise PluginError(_clash(f"the command's default {key!r}", claims))
        return claims[0].value

    def with_components(
        self, components: Iterable[Component], provider: str, version: str | None = None
    ) -> Registry:
        """A registry with more components; the same module and qualified name replaces.

        Raises
        ------
        PluginError
            If a name is taken by another component; names both.
        """
        entries = {kind: dict(names) for kind, names in self.entries.items()}
        for component in components:
            names = entries[component.kind]
            taken = names.get(component.name, ())
            if len(taken) == 1 and taken[0].value.fn is component.fn:
                continue  # mentioned again, as an imported name is: it keeps its provider
            entry = Entry(component, provider, version)
            if any(not _same(component, old.value) for old in taken):
                raise PluginError(_clash(f"{component.kind} {component.name!r}", (*taken, entry)))
            names[component.name] = (entry,)
        return replace(self, entries=_freeze(entries))


def build(points: Iterable[EntryPoint] | None = None) -> Registry:
    """Collect a registry from entry points, those of the group ``rnncore`` by default.

    Nothing is raised and nothing warned: a plugin that cannot be imported, misspells a hook,
    raises in one or returns what is no component is skipped, and stands in ``failures``.
    """
    entries: dict[str, dict[str, tuple[Entry, ...]]] = {kind: {} for kind in KINDS}
    defaults: dict[str, tuple[Entry, ...]] = {}
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
        for key, value in values.items():
            defaults[key] = (*defaults.get(key, ()), Entry(value, provider, version))
    failures += _clashes(entries, defaults)
    return Registry(_freeze(entries), MappingProxyType(defaults), tuple(failures))


_lock = threading.RLock()
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


def _same(new: Component, old: Component) -> bool:
    return (new.module, new.qualname) == (old.module, old.qualname)


def _order(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name if point.dist else "", point.name)


def _freeze(entries: Mapping[str, Mapping[str, tuple[Entry, ...]]]):
    return MappingProxyType({kind: MappingProxyType(dict(names)) for kind, names in entries.items()})


def _clash(what: str, claims: Iterable[Entry]) -> str:
    return f"{what} is claimed twice: by {' and by '.join(map(str, claims))}; rename or remove one of them"


def _clashes(entries, defaults) -> list[Failure]:
    claimed = [(f"{kind} {name!r}", c) for kind, names in entries.items() for name, c in names.items()]
    claimed += [(f"the command's default {key!r}", c) for key, c in defaults.items()]
    return [Failure(", ".join(e.provider for e in c), _clash(what, c)) for what, c in claimed if len(c) > 1]


def _unknown(kind: str, name: str, names: list[str]) -> str:
    if not names:
        return f"no {kind} is called {name!r}: none is registered"
    near = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"no {kind} is called {name!r}{hint} The choices are: {', '.join(names)}".replace("; The", "; the")
