"""Reading what a plugin gives: the hooks of a module, and the components of a file of the user's own."""

from __future__ import annotations

import hashlib
import importlib
import linecache
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from . import hookspecs, lang
from .errors import PluginError, RnncoreError
from .hookspecs import KINDS, PROJECT
from .lang.component import Component

__all__ = ["checked", "components_of", "import_file", "read_plugin", "told"]

_DEFAULTS_HOOK = "rnncore_defaults"
# our own files and the importer's, which has another home once anybody imports its backport: their lines tell nothing
_NOBODYS = ("<frozen", *(os.path.join(os.path.dirname(file), "") for file in (importlib.__file__, __file__)))


def _nobodys(filename: str) -> bool:
    return filename.startswith(_NOBODYS) or Path(filename).parent.name == "importlib_metadata"


def read_plugin(plugin: Any, name: str) -> tuple[list[Component], dict[str, dict[str, Any]], list[str]]:
    """Call every hook of one plugin.

    Parameters
    ----------
    plugin : module or object
        Its hooks are marked with `rnncore.hookimpl`.
    name : str
        For the texts of errors.

    Returns
    -------
    components, defaults, errors
        What the hooks gave; a hook that raised, or gave something else, is a text of `errors`.

    Raises
    ------
    PluginError
        If a hook is misspelt or not marked, or takes an argument that hooks do not have.
    """
    manager = _managed(plugin, name)
    components: list[Component] = []
    defaults: dict[str, dict[str, Any]] = {}
    errors: list[str] = []
    for kind, hook in KINDS.items():
        try:
            for given in getattr(manager.hook, hook)():
                components += checked(given, kind)
        except (Exception, SystemExit) as error:
            errors.append(f"hook {hook}: {told(error)}")
    try:
        for given in getattr(manager.hook, _DEFAULTS_HOOK)():
            if not isinstance(given, Mapping) or not all(isinstance(v, Mapping) for v in given.values()):
                raise PluginError(f"expected a mapping of mappings, got {given!r}")
            defaults |= {topic: dict(values) for topic, values in given.items()}
    except (Exception, SystemExit) as error:
        errors.append(f"hook {_DEFAULTS_HOOK}: {told(error)}")
    return components, defaults, errors


def _managed(plugin: Any, name: str) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    known = (*KINDS.values(), _DEFAULTS_HOOK)
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        first = str(error).strip().splitlines()
        raise PluginError(f"{' '.join(first)}; the hooks are: {', '.join(known)}") from error
    marked = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    for attribute in dir(plugin):
        if attribute in known and attribute not in marked:
            raise PluginError(f"{attribute} of {name} is not marked: put @{PROJECT}.hookimpl above it")
    return manager


def checked(given: Any, kind: str | None, where: str = "") -> list[Component]:
    """`given` as a list, if it holds components only (of one kind, where one is named); `where` begins an error."""
    wanted = f"a list of components made with @{kind}" if kind else "a component, a module or a list"
    if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)):
        raise PluginError(f"{where}expected {wanted}, got {given!r}")
    components = list(given)
    for item in components:
        if not isinstance(item, Component):
            raise PluginError(f"{where}expected {wanted}, but an item is {item!r}")
        if item.kind != kind and (kind or item.kind not in KINDS):
            raise PluginError(f"{where}expected {wanted}, but {item.name!r} is a {item.kind}")
    return components


def components_of(module: ModuleType) -> list[Component]:
    """What the hooks of a module return, and every component at its top level.

    Raises
    ------
    PluginError
        If a hook is misspelt, raises, or returns something else.
    """
    components, _, errors = read_plugin(module, module.__name__)
    if errors:
        raise PluginError(f"{module.__name__}: {errors[0]}")
    found = {id(c): c for c in (*components, *vars(module).values()) if isinstance(c, Component)}
    return [c for c in found.values() if c.kind in KINDS]


def import_file(path: str | Path) -> ModuleType:
    """Run a Python file as a module whose name is made from its path, and put it into ``sys.modules``.

    The file is compiled here and not by the import system, which would leave compiled files
    beside it and might take an old one for it within the same second.

    Raises
    ------
    PluginError
        If it cannot be read or run; the text gives its file, line and source.
    """
    file = Path(path).expanduser().resolve()
    name = f"{PROJECT}_file_{re.sub(r'[^0-9A-Za-z]+', '_', file.stem)}_{_digest(str(file))}"
    try:
        text = file.read_bytes()
    except OSError as error:
        raise PluginError(f"cannot read the plugin file {path}: {error.strerror}") from error
    linecache.checkcache(str(file))
    spec = spec_from_loader(name, SourceFileLoader(name, str(file)))
    module = module_from_spec(spec)  # type: ignore[arg-type]
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        exec(compile(text, str(file), "exec"), module.__dict__)
    except BaseException as error:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        if isinstance(error, RnncoreError) or not isinstance(error, (Exception, SystemExit)):
            raise
        raise PluginError(told(error, str(file))) from error
    return module


def told(error: BaseException, filename: str | None = None) -> str:
    """An error in one text: where (in `filename`, if one is given), what, and the line of source."""
    if isinstance(error, RnncoreError):
        return str(error)
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError) and error.name == lang.__name__:
        message = _unknown_import(error, message)
    if isinstance(error, SyntaxError) and error.filename:
        where, line = error.filename, error.lineno
        message = f"{type(error).__name__}: {error.msg}"
    else:
        frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
        own = [f for f in frames if f[0] == filename or (filename is None and not _nobodys(f[0]))]
        where, line = own[-1] if own else (filename or "", None)
    if not where or line is None:
        return f"{where}: {message}" if where else message
    source = linecache.getline(where, line).strip()
    return f"{where}:{line}: {message}" + (f"\n    {source}" if source else "")


def _unknown_import(error: ImportError, message: str) -> str:
    """``from rnncore.lang import erf`` in the words of the language, which knows what is near."""
    found = re.search(r"cannot import name '(\w+)'", str(error))
    try:
        if found:
            getattr(lang, found[1])
    except AttributeError as told_by_the_language:
        return str(told_by_the_language)
    return message


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
