"""Networks as estimators of scikit-learn: ``fit``, ``predict``, ``score``, for its pipelines, searches and scores.

They need scikit-learn, which rnncore does not: ``pip install 'rnncore[sklearn]'``.
"""

try:
    import sklearn.base as _needed  # noqa: F401
except ImportError as error:
    raise ImportError("rnncore.estimators needs scikit-learn: pip install 'rnncore[sklearn]'") from error

from .classifier import RNNClassifier
from .regressor import RNNRegressor

__all__ = ["RNNClassifier", "RNNRegressor"]
