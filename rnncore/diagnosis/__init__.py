"""Gradients made visible: what vanishes, what explodes, what is saturated."""

from .alignment import plot_attention
from .measure import diagnose
from .result import Diagnosis

__all__ = ["Diagnosis", "diagnose", "plot_attention"]
