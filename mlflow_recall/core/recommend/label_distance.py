"""How differently the classes of datasets are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.model_descriptions import EncodeTexts
from mlflow_recall.core.scores.features import unit_rows


def label_distance(first: FloatArray, second: FloatArray) -> float:
    """Distance of two sets of class names, after Li et al. 2023 (CVPR).

    'Guided Recommendation for Model Fine-Tuning' has the distance between the label names of target
    and source among its features. Here every class is compared with the nearest one of the other
    dataset by the cosine, and both directions count the same, so that neither order nor number of
    the classes matters.

    Args:
        first: (c, e) embeddings of the names of one dataset's classes.
        second: (k, e) those of the other.

    Returns:
        In [0, 2], 0 for equal names in whatever order; symmetric.
    """
    apart = 1.0 - np.clip(unit_rows(first) @ unit_rows(second).T, -1.0, 1.0)  # (c, k)
    return float((apart.min(axis=1).mean() + apart.min(axis=0).mean()) / 2)


def label_distances(classes: Sequence[Sequence[str]], encode: EncodeTexts) -> FloatArray:
    """Distances between datasets by the names of their classes.

    Args:
        classes: names of each of n datasets; numbers are no names, and none are unknown.
        encode: texts -> (texts, e) embeddings; called once, with every distinct name.

    Returns:
        (n, n) as ``label_distance``; NaN where the names of one of the two are unknown.
    """
    named = [[] if all(_number(name) for name in names) else list(names) for names in classes]
    texts = sorted({_words(name) for names in named for name in names})
    place = {text: i for i, text in enumerate(texts)}
    distances = np.full((len(classes), len(classes)), np.nan)
    if not texts:
        return distances
    vectors = np.asarray(encode(texts), dtype=np.float64)
    rows = [vectors[[place[_words(name)] for name in names]] for names in named]
    for i, first in enumerate(rows):
        for j, second in enumerate(rows[: i + 1]):
            if len(first) and len(second):
                distances[i, j] = distances[j, i] = label_distance(first, second)
    return distances


def _words(name: str) -> str:
    """``noun.animal`` and ``living_room`` are several words."""
    return " ".join("".join(c if c.isalnum() else " " for c in name).split()) or name


def _number(name: str) -> bool:
    return name.lstrip("-").replace(".", "", 1).isdigit()
