"""The registry as a value: what is registered by kind and name, where it comes from, and what failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from .errors import InputError, PluginError
from .lang.component import Component

__all__ = ["Entry", "Failure", "Registry", "UnknownName", "clash", "frozen", "unknown"]


class UnknownName(InputError, AttributeError):
    """No component of that kind has that name; an `AttributeError` too, so that `hasattr` works."""


@dataclass(frozen=True)
class Entry:
    """One claim of a name: the component and where it comes from.

    Parameters
    ----------
    value : Component
    provider : str
        The distribution, the file, or ``"rnncore.register"``.
    version : str or None
        Of the distribution.
    """

    value: Component
    provider: str
    version: str | None = None

    @property
    def origin(self) -> str:
        """``file:line`` of the component."""
        return f"{self.value.filename}:{self.value.lineno}"

    def __str__(self) -> str:
        return f"{self.provider} ({self.origin})"


@dataclass(frozen=True)
class Failure:
    """A plugin, or a part of it, that was skipped."""

    provider: str
    error: str

    def __str__(self) -> str:
        return f"plugin {self.provider!r}: {self.error}"


@dataclass(frozen=True)
class Registry:
    """Every component by kind and name, the defaults by topic, and what failed.

    A name maps to a tuple of entries; more than one is a clash, which is an error where
    that name is looked up and leaves every other name working.
    """

    entries: Mapping[str, Mapping[str, tuple[Entry, ...]]]
    topics: Mapping[str, Mapping[str, Any]]
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
            raise unknown(kind, name, self.names(kind))
        if len(claims) > 1:
            raise PluginError(clash(f"{kind} {name!r}", claims))
        return claims[0]

    def get(self, kind: str, name: str) -> Component:
        """The component of a name; raises as `entry`."""
        return self.entry(kind, name).value

    def defaults(self, topic: str) -> Mapping[str, Any]:
        """What plugins give where a user says nothing; empty where none does."""
        return self.topics.get(topic, MappingProxyType({}))

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
                raise PluginError(clash(f"{component.kind} {component.name!r}", (*taken, entry)))
            names[component.name] = (entry,)
        return replace(self, entries=frozen(entries))


def _same(new: Component, old: Component) -> bool:
    return (new.module, new.qualname) == (old.module, old.qualname)


def unknown(kind: str, name: str, names: list[str]) -> UnknownName:
    """The error of a name that is not among `names`: it lists them, and says which is nearest."""
    if not names:
        return UnknownName(f"no {kind} is called {name!r}: none is registered")
    spelled = {other.lower(): other for other in names}
    near = get_close_matches(str(name).lower(), spelled, n=1)
    hint = f"did you mean {spelled[near[0]]!r}? The" if near else "the"
    return UnknownName(f"no {kind} is called {name!r}; {hint} choices are: {', '.join(names)}")


def clash(what: str, claims: Iterable[Entry]) -> str:
    """The text of an error: `what` is claimed by several."""
    return f"{what} is claimed twice: by {' and by '.join(map(str, claims))}; rename or remove one of them"


def frozen(table: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """A read-only copy of a table of tables."""
    return MappingProxyType({key: MappingProxyType(dict(inner)) for key, inner in table.items()})
