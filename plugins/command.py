"""What the command ``rnncore`` uses where its user says nothing."""

from rnncore import hookimpl


@hookimpl
def rnncore_command_defaults():
    return {
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
    }
