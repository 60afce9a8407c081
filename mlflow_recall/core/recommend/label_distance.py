"""Distance of datasets by the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.model_descriptions import EncodeTexts
from mlflow_recall.core.scores.features import unit_rows


def label_distance(first: FloatArray, second: FloatArray) -> float:
    """Return the distance of two sets of class names, after Li et al. 2023 (CVPR).

    'Guided Recommendation for Model Fine-Tuning' uses the distance between the label names of
    target and source as a feature. Here every class is compared with the nearest class of the other
    dataset by the cosine, and both directions count the same, so that neither the order nor the
    number of classes matters.

    Args:
        first: (c, e) embeddings of the class names of one dataset.
        second: (k, e) embeddings of the class names of the other.

    Returns:
        In [0, 2], symmetric; 0 for equal names in any order.

    Example:
        >>> label_distance(np.eye(2), np.array([[1.0, 0.0]]))
        0.25
    """
    distance = 1.0 - np.clip(unit_rows(first) @ unit_rows(second).T, -1.0, 1.0)  # (c, k)
    return float((distance.min(axis=1).mean() + distance.min(axis=0).mean()) / 2)


def label_distances(classes: Sequence[Sequence[str]], encode: EncodeTexts) -> FloatArray:
    """Return the distances between datasets by the names of their classes.

    Args:
        classes: Class names of each of n datasets; numbers are no names, and empty is unknown.
        encode: Texts -> (texts, e) embeddings; called once, with every distinct name.

    Returns:
        (n, n) distances as ``label_distance``; NaN where the names of a dataset are unknown.
    """
    known = [[] if all(_is_number(name) for name in names) else list(names) for names in classes]
    texts = sorted({_split_words(name) for names in known for name in names})
    index_of = {text: i for i, text in enumerate(texts)}
    distances = np.full((len(classes), len(classes)), np.nan)
    if not texts:
        return distances
    vectors = np.asarray(encode(texts), dtype=np.float64)
    rows = [vectors[[index_of[_split_words(name)] for name in names]] for names in known]
    for i, first in enumerate(rows):
        for j, second in enumerate(rows[: i + 1]):
            if len(first) and len(second):
                distances[i, j] = distances[j, i] = label_distance(first, second)
    return distances


def _split_words(name: str) -> str:
    """Return a name with spaces between its words: ``noun.animal`` becomes ``noun animal``."""
    return " ".join("".join(c if c.isalnum() else " " for c in name).split()) or name


def _is_number(name: str) -> bool:
    return name.lstrip("-").replace(".", "", 1).isdigit()
