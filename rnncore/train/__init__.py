"""Training on ragged data: batches by length, optimizers, checkpoints, model files."""

from .buckets import bucketed_batches
from .data import Dataset
from .evaluate import evaluate, predict
from .history import History
from .lbfgs import LBFGS
from .model import load_model, save_model
from .trainer import Trainer, TrainingResult

__all__ = [
    "Dataset", "History", "LBFGS", "Trainer", "TrainingResult", "bucketed_batches", "evaluate", "load_model",
    "predict", "save_model",
]  # fmt: skip
