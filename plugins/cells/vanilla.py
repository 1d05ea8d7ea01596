"""The plain recurrent network."""

from rnncore.lang import cell, relu, sigmoid, tanh

ACTIVATIONS = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid, "identity": lambda a: a}


@cell
def vanilla(w, x, h, *, activation="tanh"):
    """Plain recurrent network: h = tanh(W_xh x + W_hh h + b_h). Elman 1990, Cognitive Science 14, 179-211.

    Options
    -------
    activation : {"tanh", "relu", "sigmoid", "identity"}
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return ACTIVATIONS[activation](w.h(x, h))
