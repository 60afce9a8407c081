"""From the outputs of a head to answers, in training and where a model is served.

This file is copied beside a served model and executed there, so it imports nothing of this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

#: probability from which a label is part of an answer
THRESHOLD = 0.5


def to_outputs(logits: Tensor, target: Mapping[str, Any]) -> Tensor:
    """Return (n, c) probabilities of classes or labels, or (n,) numbers.

    Args:
        logits: (n, c) outputs of a head; (n, 1) of a regression.
        target: Its ``task``, and ``mean`` and ``std`` of the numbers of a regression.
    """
    values = logits.double()
    if target["task"] == "multilabel":
        return values.sigmoid()
    if target["task"] != "regression":
        return values.softmax(dim=1)
    numbers: Tensor = values[:, 0] * target["std"] + target["mean"]
    return numbers


def to_answers(
    outputs: Sequence[Tensor], target: Mapping[str, Any], threshold: float = THRESHOLD
) -> pd.DataFrame:
    """Return the answers for n rows.

    Args:
        outputs: What ``to_outputs`` returned, batch by batch.
        target: Its ``task`` and ``classes``.
        threshold: Probability from which a label is part of an answer.

    Returns:
        ``label`` and ``score``, its probability, of a classification; ``labels`` and ``scores``,
        the most probable first, of a multi-label model; ``prediction`` of a regression.

    Raises:
        ValueError: The threshold is no probability.
    """
    if target["task"] == "regression":
        return pd.DataFrame({"prediction": [v for part in outputs for v in part.tolist()]})
    classes = target["classes"]
    if target["task"] == "multilabel":
        if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise ValueError(f"threshold: expected a probability from 0 to 1, got {threshold!r}")
        rows = [
            [(classes[i], row[i]) for i in sorted(range(len(row)), key=lambda i: -row[i])
             if row[i] >= threshold]
            for part in outputs for row in part.tolist()
        ]  # fmt: skip
        return pd.DataFrame(
            {
                "labels": [[name for name, _ in row] for row in rows],
                "scores": [[score for _, score in row] for row in rows],
            }
        )
    best = [part.max(dim=1) for part in outputs]
    return pd.DataFrame(
        {
            "label": [classes[i] for part in best for i in part.indices.tolist()],
            "score": [score for part in best for score in part.values.tolist()],
        }
    )


def read_target(described: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Return the target that a model folder describes; one that names none classifies.

    Args:
        described: Value of ``target`` in its description, or nothing.
        classes: Names of its classes or labels.
    """
    target: dict[str, Any] = {"task": "classification", "mean": 0.0, "std": 1.0, **described}
    return {**target, "classes": list(classes)}
