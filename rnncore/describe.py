"""From plain JSON back to a network: every component found by name and checked by its hash."""

from __future__ import annotations

import json
from typing import Any

from .description import FORMAT
from .errors import InputError, RnncoreError
from .inputs import Tokens
from .registry import current

__all__ = ["arguments_of", "layer_from"]


def arguments_of(text: str) -> tuple[Any, ...]:
    """What the network of a JSON text is made from, in the order of `Network` (see `Network.to_json`)."""
    try:
        data = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"this is no JSON text of a network: {error}") from None
    keys = ("format", "layer", "inputs", "outputs", "mode", "initial_state")
    if not isinstance(data, dict) or set(data) - {"feed"} != set(keys):
        raise InputError(f"a network's JSON has the keys {', '.join(keys)}, got {_shown(data)}")
    if data["format"] != FORMAT:
        raise InputError(f"a network's JSON has format {FORMAT}, got {data['format']!r}")
    inputs = data["inputs"]
    if isinstance(inputs, dict) and set(inputs) == {"tokens"}:
        inputs = Tokens(inputs["tokens"])
    elif isinstance(inputs, dict) and set(inputs) == {"named"}:
        inputs = _named(inputs["named"])
    given = inputs, data["outputs"], data["mode"], data["initial_state"]
    return layer_from(data["layer"]), *given, data.get("feed", "every")


def layer_from(data: Any):
    """The layer or arrangement of its JSON value."""
    if isinstance(data, dict) and set(data) == {"cell", "units", "options", "graph"}:
        made = _component("cell", data["cell"])(data["units"], **_options(data))
        name = f"cell {data['cell']!r}"
    elif isinstance(data, dict) and set(data) == {"topology", "blocks", "options", "graph"}:
        if not isinstance(data["blocks"], list):
            raise InputError(f"the blocks of a topology must be a list, got {_shown(data['blocks'])}")
        blocks = [layer_from(b) for b in data["blocks"]]
        made = _component("topology", data["topology"])(*blocks, **_options(data))
        name = f"topology {data['topology']!r}"
    else:
        raise InputError(f"a layer's JSON names a cell or a topology with its options, got {_shown(data)}")
    if made.describe()["graph"] != data["graph"]:
        raise RnncoreError(
            f"{name} has changed since this network was written: its equations now have the hash "
            f"{made.describe()['graph']}, the file says {data['graph']}"
        )
    return made


def _named(rows: Any) -> dict[str, Any]:
    pairs = isinstance(rows, list) and all(isinstance(r, list) and len(r) == 2 for r in rows)
    if not pairs or not all(isinstance(name, str) for name, _ in rows):
        raise InputError(f"named inputs must be a list of [name, features], got {_shown(rows)}")
    return dict(rows)


def _component(kind: str, name: Any) -> Any:
    if not isinstance(name, str):
        raise InputError(f"the name of a {kind} must be a string, got {_shown(name)}")
    return current().get(kind, name)


def _options(data: dict) -> dict[str, Any]:
    if not isinstance(data["options"], dict):
        raise InputError(f"options must be a mapping, got {_shown(data['options'])}")
    return {name: _option(value) for name, value in data["options"].items()}


def _option(value: Any) -> Any:
    """An option of its JSON value (see `rnncore.combine.topology.described`)."""
    if isinstance(value, list):
        return tuple(_option(v) for v in value)
    if not isinstance(value, dict):
        return value
    if set(value) != {"kind", "name", "options", "graph"}:
        raise InputError(f"an option that is a component has kind, name, options and graph, got {_shown(value)}")
    made = _component(str(value["kind"]), value["name"])(**_options(value))
    if made.fingerprint != value["graph"]:
        raise RnncoreError(
            f"{value['kind']} {value['name']!r} has changed since this network was written: its equations now have the "
            f"hash {made.fingerprint}, the file says {value['graph']}"
        )
    return made


def _shown(data: Any) -> str:
    text = json.dumps(data) if not isinstance(data, dict) else "the keys " + ", ".join(map(str, data))
    return text if len(text) < 120 else text[:117] + "..."
