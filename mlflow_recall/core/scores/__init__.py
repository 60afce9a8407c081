"""Transferability scores: how well a model will fine-tune, judged from one forward pass.

Each score is a function in a file of its own, from arrays to a float; higher transfers better.
``SCORES`` has what each needs, its tasks, its range and its cost; the entry-point group
``mlflow_recall.scores`` adds to it. ``compute_all`` computes several scores of one model on one
decomposition of its embeddings, and ``uninformative`` finds the scores that tell nothing about the
models at hand.
"""

from __future__ import annotations

from mlflow_recall.core.scores.depth import base_of, with_depth
from mlflow_recall.core.scores.diagnostics import ScoreDiagnostics, diagnose, uninformative
from mlflow_recall.core.scores.gbc import gbc
from mlflow_recall.core.scores.hscore import hscore
from mlflow_recall.core.scores.inputs import label_entropy
from mlflow_recall.core.scores.knn import knn
from mlflow_recall.core.scores.leep import leep
from mlflow_recall.core.scores.lfc import lfc
from mlflow_recall.core.scores.linear_probe import linear_probe
from mlflow_recall.core.scores.logme import logme, logme_regression
from mlflow_recall.core.scores.nce import nce
from mlflow_recall.core.scores.nleep import nleep
from mlflow_recall.core.scores.parc import parc
from mlflow_recall.core.scores.table import (
    SCORES,
    ForwardPass,
    Score,
    Scored,
    compute_all,
)
from mlflow_recall.core.scores.transrate import transrate

__all__ = [
    "SCORES",
    "ForwardPass",
    "Score",
    "ScoreDiagnostics",
    "Scored",
    "base_of",
    "compute_all",
    "diagnose",
    "gbc",
    "hscore",
    "knn",
    "label_entropy",
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
