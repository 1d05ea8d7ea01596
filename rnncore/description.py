"""What a network is: its fields checked, and the sizes, parameters and states that follow from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from .arguments import whole
from .combine import Arrangement, Block, as_block
from .combine.blocks import last_loop
from .combine.translate import Translate, holds_translate
from .combine.wired import Wired
from .errors import InputError, LanguageError
from .inputs import Tokens
from .lang.cell import Layer
from .lang.graph import topological
from .vectors import bridge_parameters

__all__ = ["FORMAT", "Description", "reads_out"]

MODES = ("many-to-many", "many-to-one", "one-to-many", "one-to-one")
FEEDS = ("every", "first", "state")
STARTS = ("zero", "learned")
FORMAT = 1


@dataclass(frozen=True)
class Description:
    """The immutable part of a network (see `Network`): no numbers, no calls."""

    layer: Any
    inputs: Any = None
    outputs: int | None = None
    mode: str = "many-to-many"
    initial_state: str = "zero"
    feed: str = "every"

    def __post_init__(self):
        if not isinstance(self.layer, (Layer, Arrangement)):
            raise InputError(f"a network is made of layers and topologies, got {type(self.layer).__name__}")
        if isinstance(self.inputs, Mapping):
            object.__setattr__(self, "inputs", _Named(tuple((k, _size(k, v)) for k, v in self.inputs.items())))
        elif self.inputs is not None and not isinstance(self.inputs, (Tokens, _Named)):
            object.__setattr__(self, "inputs", _size("inputs", self.inputs))
        if self.outputs is not None:
            object.__setattr__(self, "outputs", _size("outputs", self.outputs))
        if self.mode not in MODES:
            raise InputError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if self.initial_state not in STARTS:
            raise InputError(f"initial_state must be one of {', '.join(STARTS)}, got {self.initial_state!r}")
        self._check_feed()
        if isinstance(self.inputs, Tokens):
            _check_token_readers(self.block)
        self._check_decoder()
        if self.outputs is not None:
            _check_readout(self.block, self.outputs)
        self.loops  # noqa: B018  (sizes that do not fit are refused here)
        self.shapes  # noqa: B018  (names that clash are refused here)
        self.features  # noqa: B018  (merges and residuals that cannot be are refused here)

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # not what follows from these

    def _check_decoder(self) -> None:
        """A decoder writes in lengths of its own: it is a whole network."""
        if not holds_translate(self.block):
            return
        if not isinstance(self.block, Translate):
            raise InputError(
                f"a decoder writes in lengths of its own and can be no part of {self.layer!r}: what stands below it is "
                "part of its encoder, what stands above it of the decoder, a stack of layers"
            )
        if self.mode != "many-to-many" or self.inputs is None:
            got = f"mode={self.mode!r}, inputs={self.inputs!r}"
            raise InputError(f"an encoder reads a sequence and its decoder writes one: mode='many-to-many', got {got}")

    def _check_feed(self) -> None:
        """What reads vectors, or nothing at all, must be told so without contradiction."""
        if self.feed not in FEEDS:
            raise InputError(f"feed must be one of {', '.join(FEEDS)}, got {self.feed!r}")
        if self.inputs is None and self.reads_vectors:
            raise InputError(f"mode={self.mode!r} reads a vector, but the network has no inputs; give inputs=")
        if self.feed != FEEDS[0] and self.mode != "one-to-many":
            raise InputError(f"feed={self.feed!r} is of mode='one-to-many'; the mode of this network is {self.mode!r}")
        if self.feed != "state":
            return
        if isinstance(self.inputs, _Named):
            raise InputError(f"feed='state' makes the initial state of one input, got inputs={self.inputs!r}")
        if self.initial_state != STARTS[0]:
            raise InputError(f"feed='state' gives the initial state, so initial_state={self.initial_state!r} cannot")
        for layer in self.block.readers():
            if layer.step.inputs:
                raise InputError(
                    f"feed='state' gives the vector to the initial state alone, but {layer!r} reads "
                    f"{', '.join(layer.step.inputs)}: use cells without inputs, or feed='every' or 'first'"
                )

    @cached_property
    def block(self) -> Block:
        """The combinators behind the layers and topologies."""
        return as_block(self.layer)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Features of each input by name; none of an autonomous network."""
        if self.inputs is None:
            return {}
        if isinstance(self.inputs, Tokens):
            return {"x": self.inputs.size}
        return dict(self.inputs.items) if isinstance(self.inputs, _Named) else {"x": self.inputs}

    @property
    def fed(self) -> dict[str, int]:
        """Features of what the blocks read, by name."""
        return {} if self.feed == "state" else self.sizes

    @property
    def per_step(self) -> bool:
        """Whether there is an output at each step, as opposed to one a sequence."""
        return self.mode in ("many-to-many", "one-to-many")

    @property
    def reads_vectors(self) -> bool:
        """Whether an input is one vector a sequence."""
        return self.mode.startswith("one-")

    @property
    def counts_steps(self) -> bool:
        """Whether a call says how many steps there are, since no input does."""
        return self.inputs is None or self.mode == "one-to-many"

    @cached_property
    def features(self) -> int:
        """Size of the last block's output."""
        return self.block.features(self.fed)

    @cached_property
    def loops(self) -> dict[str, tuple[Layer | Wired, dict[Any, int]]]:
        """Layer and numbers of its size symbols of every loop, by path prefix."""
        return {prefix: (layer, sizes) for prefix, layer, sizes in self.block.walk("", self.fed)}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Path and shape of every parameter, in the order of ``params.flat``."""
        rows = [(path, shape) for path, shape, *_ in self._parameters()]
        for k, (path, _) in enumerate(rows):
            if path in dict(rows[:k]):
                raise InputError(f"two different parameters would both be called {path!r}; rename the one in the cell")
        return dict(rows)

    @cached_property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Path and shape (without the batch) of every state."""
        return {
            prefix + s: (sizes[layer.step.dims[s]],)
            for prefix, (layer, sizes) in self.loops.items()
            for s in layer.step.states
        }

    def _parameters(self):
        """(path, shape, role, start, the author's line) of every parameter."""
        handed = {path for path, *_ in self.block.handed("", self.fed)}
        for prefix, (layer, sizes) in self.loops.items():
            for p in layer.step.params:
                yield prefix + p.name, tuple(sizes[d] for d in p.shape), p.role, p.start, p.origin
            if self.initial_state == "learned":
                for s in (s for s in layer.step.states if prefix + s not in handed):
                    yield f"{prefix}{s}0", (sizes[layer.step.dims[s]],), "state", None, None
        yield from self.block.parameters("", self.fed)
        if self.feed == "state":
            yield from bridge_parameters(self)
        if self.outputs is not None:
            yield "readout.V", (self.outputs, self.features), "readout", None, None
            yield "readout.c", (self.outputs,), "bias", None, None

    # JSON
    def describe(self) -> dict[str, Any]:
        """Names, options and graph hashes as plain JSON values."""
        inputs: Any = self.inputs
        if isinstance(inputs, Tokens):
            inputs = {"tokens": inputs.size}
        elif isinstance(inputs, _Named):
            inputs = {"named": [[k, v] for k, v in inputs.items]}
        data = {
            "format": FORMAT,
            "layer": self.layer.describe(),
            "inputs": inputs,
            "outputs": self.outputs,
            "mode": self.mode,
            "initial_state": self.initial_state,
        }
        return data if self.feed == FEEDS[0] else {**data, "feed": self.feed}

    def to_json(self) -> str:
        """The description as JSON text; no numbers of parameters in it."""
        return json.dumps(self.describe(), sort_keys=True, allow_nan=False)

    def __repr__(self) -> str:
        parts = [repr(self.layer), f"inputs={self.inputs!r}"]
        if self.outputs is not None:
            parts.append(f"outputs={self.outputs}")
        if self.mode != MODES[0]:
            parts.append(f"mode={self.mode!r}")
        if self.initial_state != STARTS[0]:
            parts.append(f"initial_state={self.initial_state!r}")
        if self.feed != FEEDS[0]:
            parts.append(f"feed={self.feed!r}")
        return f"Network({', '.join(parts)})"


@dataclass(frozen=True)
class _Named:
    """Several inputs by name (hashable)."""

    items: tuple[tuple[str, int], ...]

    def __repr__(self) -> str:
        return repr(dict(self.items))


def reads_out(block: Block) -> Layer | Wired | None:
    """The last block's layer, if it feeds a readout of its own back, which gives what the network's would."""
    last = last_loop(block)
    if last is None or all(p.role != "readout" for p in last.layer.step.params):
        return None
    return last.layer


def _check_readout(block: Block, outputs: int) -> None:
    """One readout is enough."""
    own = reads_out(block)
    if own is not None:
        raise InputError(
            f"outputs={outputs} asks for a readout, but the last block has one of its own, {own!r}: "
            "its output is the network's, leave outputs out"
        )


def _check_token_readers(block: Block) -> None:
    """Tokens have no values: a cell may only multiply them by matrices."""
    for layer in block.readers():
        for node in topological(layer.step.roots.values()):
            for k, arg in enumerate(node.args):
                if arg.op == "leaf" and arg.attrs == ("input", "x") and (node.op, k) != ("matmul", 1):
                    raise LanguageError(
                        f"cell {layer.name!r} uses x outside an affine map, which tokens do not allow",
                        *(node.origin or ()),
                    )


def _size(what: str, value) -> int:
    number = whole(value, 1)
    if number is None:
        raise InputError(f"{what} must be a positive integer, got {value!r}")
    return number
