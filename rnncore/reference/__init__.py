"""The truth of every test: slow, obvious NumPy over the same graphs."""

from .interpreter import evaluate
from .network import gradients, run
from .translation import Written

__all__ = ["Written", "evaluate", "gradients", "run"]
