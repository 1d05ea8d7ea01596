"""Sequence to sequence, with and without attention."""

from rnncore.combine import topology, translate
from rnncore.lang import max, relu, sigmoid, softmax, tanh, where

FEEDBACK = {
    "argmax": lambda o: where(o == max(o), 1, 0), "identity": lambda o: o, "softmax": softmax, "sigmoid": sigmoid,
    "tanh": tanh, "relu": relu,
}  # fmt: skip


@topology
def encoder_decoder(
    encoder, decoder, *, outputs=None, scorer=None, attend="before", bridge="affine", input_feeding=False,
    feedback="argmax",
):  # fmt: skip
    """A decoder writes a sequence of its own, reading its last output, from what an encoder made of another.

    Sutskever, Vinyals and Le, arXiv:1409.3215; Cho et al., arXiv:1406.1078. With a scorer the decoder attends to
    the encoder's outputs at every step: before it, with its last state as the query, the context joining what it reads
    (Bahdanau, Cho and Bengio, arXiv:1409.0473), or after it, with its new output as the query, the output being
    s = tanh(W_h h + W_C C) (Luong, Pham and Manning, arXiv:1508.04025). A decoder of several layers, such as
    ``deep(lstm(64), lstm(64))``, reads at the bottom and asks at the top.

    Options
    -------
    outputs : int
        Size of o, the readout of each step. The network then takes no ``outputs`` of its own.
    scorer : scorer
        None: the decoder does not attend.
    attend : {"before", "after"}
    bridge : {"affine", "copy", "zero"}
        How the decoder starts: from an affine map of the encoder's final states, from them, or from zero. Layer by
        layer where both have as many; else each from the states of the encoder's last one.
    input_feeding : bool
        Whether the next step reads s, too (attention after the step only).
    feedback : {"argmax", "identity", "softmax", "sigmoid", "tanh", "relu"}
        What of o the next step reads: "argmax" for classes, "identity" for values.
    """
    if outputs is None:
        raise ValueError("outputs is missing: the size of what the decoder writes at each step")
    if attend not in ("before", "after"):
        raise ValueError(f"attend must be 'before' or 'after', got {attend!r}")
    if input_feeding and (scorer is None or attend == "before"):
        raise ValueError("input feeding hands on what attention after the step gives: attend='after' and a scorer")
    if feedback not in FEEDBACK:
        raise ValueError(f"feedback must be one of {', '.join(FEEDBACK)}, got {feedback!r}")
    chosen = {"outputs": outputs, "attend": attend, "input_feeding": input_feeding, "feedback": feedback}
    return translate(encoder, decode, decoder, scorer=scorer, bridge=bridge, **chosen)


def decode(net, *layers, scorer, outputs, attend, input_feeding, feedback):
    """One step of the decoder; it reads its last output y, the context C and, fed back, s."""
    paths = ["decoder."] if len(layers) == 1 else [f"decoder.{k}." for k in range(len(layers))]
    h = net.state("y", outputs)
    beside = {}
    if scorer is not None and attend == "before":
        beside["C"] = net.attend(scorer, net.before(layers[-1], paths[-1]), net.source("values"))
    if input_feeding:
        beside["s"] = net.state("s")
    for layer, path in zip(layers, paths):
        h = net.layer(layer, path, inputs={"x": h}, beside={"x": beside if path == paths[0] else {}})
    if scorer is not None and attend == "after":
        h = tanh(net.affine("attention.s", h=h, C=net.attend(scorer, h, net.source("values")), bias=False))
        if input_feeding:
            net.next("s", h)
    o = net.readout(h, outputs)
    net.next("y", FEEDBACK[feedback](o), output=True)
    return o
