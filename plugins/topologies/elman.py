"""Feedback within the layer."""

from rnncore.combine import loop, topology


@topology
def elman(layer):
    """Feedback within the layer, from its own previous state: what a bare layer does. Elman 1990."""
    return loop(layer)
