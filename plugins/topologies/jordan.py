"""Feedback from the output."""

from rnncore.combine import topology, wired
from rnncore.lang import relu, sigmoid, softmax, tanh

ACTIVATIONS = {"identity": lambda o: o, "tanh": tanh, "sigmoid": sigmoid, "relu": relu, "softmax": softmax}


@topology
def jordan(layer, *, outputs=None, activation="identity"):
    """Feedback from the output: o = V h + c, y = activation(o), which the next step reads instead of h. Jordan 1986.

    y takes the place of the layer's first state in each affine map that reads this state itself, with W_yi for W_hi;
    pointwise uses and computed operands keep the state. The output is o.

    Options
    -------
    outputs : int
        Size of o and y. The network then takes no ``outputs`` of its own.
    activation : {"identity", "tanh", "sigmoid", "relu", "softmax"}
        Of what is fed back.
    """
    if outputs is None:
        raise ValueError("outputs is missing: the size of the readout whose output is fed back")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return wired(output_to_hidden, layer, outputs=outputs, activation=activation)


def output_to_hidden(net, layer, *, outputs, activation):
    """The step: Jordan, Attractor dynamics and parallelism in a connectionist sequential machine, CogSci 1986."""
    y = net.state("y", outputs)
    h = net.layer(layer, instead={layer.step.states[0]: {"y": y}})
    o = net.readout(h, outputs)
    net.next("y", ACTIVATIONS[activation](o), output=True)
    return o
