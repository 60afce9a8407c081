"""Transferability scores, public: how well will a model fine-tune, judged from one forward pass?

Each is a function ``score(rows, labels) -> float``, higher transfers better; ``SCORES`` says what
each looks at, its range and its cost. ``compute_all`` computes several on one decomposition, and
``degenerate`` names those that say nothing about the models at hand.
"""

from mlflow_recall.core.scores import (
    SCORES,
    ForwardPass,
    Score,
    Scored,
    compute_all,
    diagnose,
    gbc,
    hscore,
    knn,
    leep,
    lfc,
    linear_probe,
    logme,
    logme_regression,
    nce,
    nleep,
    parc,
    transrate,
    uninformative,
    with_depth,
)

__all__ = [
    "SCORES",
    "ForwardPass",
    "Score",
    "Scored",
    "compute_all",
    "diagnose",
    "gbc",
    "hscore",
    "knn",
    "leep",
    "lfc",
    "linear_probe",
    "logme",
    "logme_regression",
    "nce",
    "nleep",
    "parc",
    "transrate",
    "uninformative",
    "with_depth",
]
