"""Every example in a docstring runs and gives what it says; everything public has a docstring."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import rnncore
import rnncore_plugins
from rnncore.cuda import target

COMPILED = ("rnncore.cuda.device", "rnncore.cuda.fragments", "rnncore.cuda.intrinsics", "rnncore.cuda.tiles")


def modules():
    for package in (rnncore, rnncore_plugins):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not found.name.endswith("__main__"):
                yield found.name


def imported(name):
    if name.startswith(COMPILED) and target.missing_to_compile():
        pytest.skip(target.missing_to_compile())
    return importlib.import_module(name)


@pytest.mark.parametrize("name", sorted(modules()))
def test_examples_run(name, own_registry):
    result = doctest.testmod(imported(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


@pytest.mark.parametrize("name", sorted(modules()))
def test_everything_public_is_described(name):
    module = imported(name)
    assert name == "rnncore.cpu" or (module.__doc__ or "").strip(), name
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == name:
            assert (value.__doc__ or "").strip(), f"{name}.{public}"
