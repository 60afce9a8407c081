"""Transferability scores: how well will a model fine-tune, judged from one forward pass?

Each is a function ``score(rows, labels) -> float``, higher transfers better. Those that serve other
tasks than classification take the keyword ``task``. ``SCORES`` is the table of what each needs, the
tasks that it serves, its range and its cost. ``compute_all`` computes several on one decomposition
of the embeddings, and ``uninformative`` names those that say nothing about the models at hand.

Example:
    >>> import numpy as np
    >>> embeddings = np.array([[0.0], [0.1], [1.0], [1.1]])
    >>> knn(embeddings, np.array([0, 0, 1, 1]), neighbors=1)
    1.0
    >>> round(knn(embeddings, np.array([0.2, 0.1, 3.0, 4.0]), task="regression", neighbors=1), 1)
    0.6
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
