"""Hypothesis profile, what tests share as importable modules, and the registry put back after a test."""

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import rnncore.registry as registry

# the first example compiles kernels: a deadline would measure that
settings.register_profile("rnncore", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("rnncore")


def _gpu() -> bool:
    """Whether this machine has a GPU with a driver: without one, its kernels run in the simulator."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    many = ctypes.c_int()
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(many)) == 0 and many.value > 0


if not _gpu():
    os.environ.setdefault("RNNCORE_CUDASIM", "1")


def _load(name):
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


for _name in ("stress", "stepwise", "wholes", "mirror"):
    if _name not in sys.modules:
        _load(_name)


@pytest.fixture
def own_registry(monkeypatch):
    """The registry of this process, put back afterwards."""
    monkeypatch.setattr(registry, "_current", registry.current())
    return registry
