"""``rnncore plugins``."""

import inspect
import textwrap

from ..entries import Entry, Registry, unknown
from ..errors import InputError
from ..hookspecs import KINDS
from ..registry import current
from .options import PluginsOptions

__all__ = ["plugins"]


def plugins(options: PluginsOptions) -> None:
    """List what is registered, from where, and what failed.

    With the name of a component its equations are shown: the author's own text.
    """
    registry = current()
    chosen = _chosen(registry, options.names or [])
    for kind, names in chosen.items():
        in_full = options.equations or any(name in (options.names or ()) for name in names)
        print(f"{KINDS[kind].removeprefix('rnncore_')}{'' if names else ': none'}")
        for name in names:
            print(_told(kind, name, registry.entries[kind][name], in_full))
        print()
    if registry.failures:
        print("failed")
        for failure in registry.failures:
            print(textwrap.indent(str(failure), "  "))


def _chosen(registry: Registry, names: list[str]) -> dict[str, list[str]]:
    """Names by kind: all, those of the kinds, or those of the names that are asked for."""
    if not names:
        return {kind: registry.names(kind) for kind in KINDS}
    found: dict[str, list[str]] = {}
    for name in names:
        if name in KINDS:
            found[name] = registry.names(name)
            continue
        kinds = [kind for kind in KINDS if name in registry.entries[kind]]
        if not kinds:
            known = {n for kind in KINDS for n in registry.names(kind)}
            raise unknown("kind or component", name, [*KINDS, *sorted(known)])
        for kind in kinds:
            found[kind] = [*found.get(kind, []), name]
    return found


def _told(kind: str, name: str, claims: tuple[Entry, ...], in_full: bool) -> str:
    lines = []
    for entry in claims:
        options = ", ".join(f"{k}={v!r}" for k, v in entry.value.options.items())
        version = f" {entry.version}" if entry.version else ""
        lines.append(f"  {name}{f'  ({options})' if options else ''}")
        lines.append(f"      {entry.value.summary or 'no docstring'}")
        lines.append(f"      {entry.provider}{version}, {entry.origin}")
        if in_full:
            lines.append("\n" + textwrap.indent(_source(entry), "      "))
    if len(claims) > 1:
        lines.append("      claimed more than once: not usable until one is renamed or removed")
    return "\n".join(lines)


def _source(entry: Entry) -> str:
    try:
        return textwrap.dedent(inspect.getsource(entry.value.fn))
    except OSError as error:
        raise InputError(f"the source of {entry.value.name!r} is no longer there: {error}") from error
