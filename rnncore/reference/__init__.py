"""The truth of every test: slow, obvious NumPy over the same graphs."""

from .interpreter import evaluate
from .network import gradients, run

__all__ = ["evaluate", "gradients", "run"]
