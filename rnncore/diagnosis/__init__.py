"""Gradients made visible: what vanishes, what explodes, what is saturated."""

from .measure import diagnose
from .result import Diagnosis

__all__ = ["Diagnosis", "diagnose"]
