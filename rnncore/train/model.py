"""Model files: parameters by path, with the network they belong to, in safetensors."""

from __future__ import annotations

import json
import os

import numpy as np

from ..errors import FileError, InputError
from ..network import Network
from ..params import Params
from .files import read_arrays, write_arrays

__all__ = ["save_model", "load_model"]


def save_model(path: str | os.PathLike, network: Network, params: Params, extra: dict | None = None) -> None:
    """Write a network with its parameters to one file, atomically.

    Parameters
    ----------
    path : path-like
        Customarily ending in ``.safetensors``.
    network : Network
    params : Params
        Of this network, on any device.
    extra : dict, optional
        Plain JSON of your own, such as class names or how inputs were scaled.

    Raises
    ------
    InputError
        If the parameters are not the network's, or `extra` is not plain JSON.
    FileError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib, rnncore as rn
    >>> from rnncore.train import save_model, load_model
    >>> net = rn.Network(rn.cells.gru(4), inputs=2, outputs=3)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.safetensors")
    >>> save_model(path, net, net.init(seed=0), {"classes": ["a", "b", "c"]})
    >>> again, params, extra = load_model(path)
    >>> again == net, extra["classes"]
    (True, ['a', 'b', 'c'])
    """
    network.check_params(params)
    try:
        text = json.dumps(extra or {}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"extra must be plain JSON: {error}") from error
    write_arrays(path, "model", dict(params.to("cpu")), {"network": network.to_json(), "extra": text})


def load_model(path: str | os.PathLike) -> tuple[Network, Params, dict]:
    """Read what `save_model` wrote; nothing in the file is executed.

    Returns
    -------
    network : Network
    params : Params
    extra : dict

    Raises
    ------
    FileError
        If the file is missing, damaged, no model, or does not hold what its network needs: names,
        shapes and dtypes are checked.
    """
    where = os.fspath(path)
    arrays, text = read_arrays(path, "model")
    try:
        network, extra = Network.from_json(text["network"]), json.loads(text["extra"])
    except (InputError, KeyError, ValueError) as error:
        raise FileError(f"{where}: the network of this model cannot be read: {error}") from error
    return network, params_from(arrays, network, where), extra


def params_from(arrays: dict[str, np.ndarray], network: Network, where: str) -> Params:
    """Parameters of `network` from arrays by path, checked; raises `FileError`."""
    for name, shape in network.shapes.items():
        if name not in arrays:
            raise FileError(f"{where}: parameter {name!r} of shape {shape} is missing")
        if arrays[name].shape != shape:
            raise FileError(f"{where}: parameter {name!r} has shape {arrays[name].shape}, expected {shape}")
    unknown = [name for name in arrays if name not in network.shapes]
    dtypes = {a.dtype.name for a in arrays.values()}
    if unknown:
        raise FileError(f"{where}: parameter {unknown[0]!r} is none of this network's")
    if dtypes not in ({"float32"}, {"float64"}):
        raise FileError(f"{where}: expected all float32 or all float64, got {', '.join(sorted(dtypes))}")
    return Params(network.shapes, np.concatenate([arrays[name].reshape(-1) for name in network.shapes]))
