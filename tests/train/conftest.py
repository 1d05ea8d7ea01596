"""Data and a network of a few lines for the tests of training."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from rnncore.train import Dataset

_spec = importlib.util.spec_from_file_location("fake", Path(__file__).with_name("fake.py"))
fake = sys.modules.setdefault("fake", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(fake)


@pytest.fixture
def FakeNetwork():  # noqa: N802
    return fake.FakeNetwork


@pytest.fixture
def two_classes():
    """60 sequences of 1 to 12 steps: the class is the sign of the first feature's mean."""
    rng = np.random.default_rng(1)
    lengths, classes = rng.integers(1, 13, 60), rng.integers(0, 2, 60)
    x = [rng.standard_normal((n, 3)) + [2.0 * k - 1, 0, 0] for n, k in zip(lengths, classes, strict=True)]
    return Dataset(x, classes)
