"""What is used where a user says nothing: the command's recipe and the initializer of each role."""

from rnncore import hookimpl

COMMAND = {
    "cell": "gru",
    "topology": "bidirectional",
    "stack": "deep",
    "units": 64,
    "layers": 1,
    "loss": "cross_entropy",
    "values-loss": "mean_squared",
    "optimizer": "adam",
    "lr": 3e-3,
    "schedule": "constant",
    "epochs": 60,
    "batch": 32,
    "clip": 1.0,
    "validation": 0.2,
}

# The recipe of `rnncore translate`, after Bahdanau, Cho and Bengio 2015.
TRANSLATION = {
    "cell": "gru",
    "direction": "bidirectional",
    "topology": "encoder_decoder",
    "scorer": "bahdanau",
    "units": 64,
    "loss": "cross_entropy",
    "optimizer": "adam",
    "lr": 5e-3,
    "schedule": "cosine",
    "epochs": 8,
    "batch": 64,
    "clip": 1.0,
}

# The recipe of `rnncore generate`, after Graves, arXiv:1308.0850.
GENERATION = {
    "cell": "lstm",
    "stack": "deep",
    "units": 128,
    "layers": 1,
    "loss": "cross_entropy",
    "optimizer": "adam",
    "lr": 1e-2,
    "schedule": "cosine",
    "epochs": 20,
    "batch": 16,
    "truncate": 50,
    "clip": 1.0,
}

# Glorot and Bengio 2010 for what maps inputs, Saxe et al. 2014 for what is applied over and over.
INITIALIZERS = {
    "input": "glorot_uniform",
    "recurrent": "orthogonal",
    "diagonal": "fan_uniform",
    "vector": "fan_uniform",
    "scalar": 0.0,
    "readout": "glorot_uniform",
    "state": 0.0,
}


@hookimpl
def rnncore_defaults():
    return {"command": COMMAND, "translation": TRANSLATION, "generation": GENERATION, "initializer": INITIALIZERS}
