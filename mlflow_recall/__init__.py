"""Select the right pre-trained model for a new task, from the models you already have in MLflow.

``import mlflow_recall`` loads no torch, mlflow or optuna. The commands are in
``mlflow_recall.cli``, the workflows behind them in ``mlflow_recall.workflows``, and the algorithms
in ``mlflow_recall.core``.
"""

from mlflow_recall.errors import (
    ConfigError,
    DatasetError,
    HistoryError,
    RecallError,
    ScoreInputError,
    StageIncomplete,
    TaskError,
    TrackingError,
    ZooError,
)

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "DatasetError",
    "HistoryError",
    "RecallError",
    "ScoreInputError",
    "StageIncomplete",
    "TaskError",
    "TrackingError",
    "ZooError",
    "__version__",
]
