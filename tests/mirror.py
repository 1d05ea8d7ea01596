"""The CPU's loops behind strict arrays: a device to show, on any machine, that nothing above the kernels leaves it."""

from types import SimpleNamespace

import numpy as np

from rnncore.cpu import backend as cpu
from rnncore.cuda import standin
from rnncore.layout import Sources


def bare(value):
    """NumPy arrays of what a loop is given on the device; a NumPy array among them is a mistake."""
    if isinstance(value, standin.ndarray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError(f"a host array of shape {value.shape} is given to a loop of the device")
    if isinstance(value, Sources):
        return Sources(bare(value.arrays), value.base, value.counts)
    if isinstance(value, dict):
        return {name: bare(part) for name, part in value.items()}
    return tuple(map(bare, value)) if isinstance(value, tuple) else value


def wrapped(value):
    if isinstance(value, dict):
        return {name: wrapped(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map(wrapped, value))
    return standin.ndarray(value) if isinstance(value, np.ndarray) else value


def behind(function):
    return lambda *args, **given: wrapped(function(*map(bare, args), **{k: bare(v) for k, v in given.items()}))


def index(host):
    return standin.asarray(host)


def taken(value, what):
    return value


moved = SimpleNamespace(count=0)  # arrays that went to the host


def get(array):
    moved.count += 1
    return standin.asnumpy(array)


def shown_as(value):
    while isinstance(value, (dict, list, tuple)) and len(value):
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
    return None if isinstance(value, standin.ndarray) else get


names = ("prepare", "loop_forward", "loop_backward", "checkpointed_forward", "affine", "affine_backward")
backend = SimpleNamespace(
    device="cuda", xp=standin, array_type=standin.ndarray, put=standin.asarray, get=get, index=index, taken=taken,
    shown_as=shown_as, beside=cpu.beside, check=cpu.check, empty=behind(cpu.empty), zeros=behind(cpu.zeros),
    **{name: behind(getattr(cpu, name)) for name in names},
)  # fmt: skip
