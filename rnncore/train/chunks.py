"""Truncated backpropagation through time: batches cut into chunks of steps, the state carried from one to the next.

Williams and Peng, An efficient gradient-based algorithm for on-line training of recurrent network trajectories,
Neural Computation 2, 1990.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..combine.blocks import reads_backward
from ..combine.translate import Translate
from ..errors import InputError

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["Chunk", "check_carries", "chunks_of", "stream_batches"]


@dataclass(frozen=True)
class Chunk:
    """Some steps of some sequences.

    Parameters
    ----------
    indices : ndarray of int, (B,)
        The sequences.
    start, stop : int, int or None
        The steps; None for all that there are.
    fresh : bool
        Whether it starts from the network's initial state, rather than from the state that the chunk before left.
    last : bool
        Whether its sequences end in it.
    """

    indices: np.ndarray
    start: int = 0
    stop: int | None = None
    fresh: bool = True
    last: bool = True

    @property
    def part(self) -> tuple[np.ndarray, int, int | None]:
        """What it is of a dataset."""
        return self.indices, self.start, self.stop


def chunks_of(batches: list[np.ndarray], lengths: np.ndarray, truncate: int | None, stateful: bool) -> list[Chunk]:
    """Chunks in the order in which they are trained on.

    Parameters
    ----------
    batches : list of ndarray of int
        Indices of the sequences of each batch.
    lengths : ndarray of int, (sequences,)
    truncate : int or None
        Steps of a chunk; None for whole sequences.
    stateful : bool
        Whether a batch starts from the state that the one before left.
    """
    chunks = []
    for k, indices in enumerate(batches):
        starts = range(0, max(1, int(lengths[indices].max(initial=0))), truncate) if truncate else range(1)
        for start in starts:
            stop = start + truncate if truncate else None
            fresh = start == 0 and (k == 0 or not stateful)
            chunks.append(Chunk(indices, start, stop, fresh, start == starts[-1]))
    return chunks


def stream_batches(sequences: int, batch_size: int) -> list[np.ndarray]:
    """Batches in the order of the data: row j of each continues row j of the one before.

    Raises
    ------
    InputError
        The sequences do not fill their batches.
    """
    if sequences % batch_size:
        raise InputError(
            f"stateful=True: row j of every batch continues row j of the one before, so {sequences} sequences "
            f"cannot be batches of {batch_size}"
        )
    return list(np.arange(sequences).reshape(-1, batch_size))


def check_carries(network: Network, option: str) -> None:
    """Raise `InputError` unless a network can go on from the state that it left; `option` asks for it."""
    if network.mode != "many-to-many":
        raise InputError(f"{option} needs an output at every step, mode='many-to-many'; got {network.mode!r}")
    if reads_backward(network.block):
        raise InputError(f"{option}: a network that reads backward in time needs the end of a sequence first")
    if isinstance(network.block, Translate):
        raise InputError(f"{option}: a decoder needs the whole of the sequence that it writes from")
