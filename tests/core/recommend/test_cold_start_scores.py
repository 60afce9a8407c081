"""Facts of scores of a new model: what a few on recorded datasets add to its estimate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend.cold_start import ColdStartEstimate, estimate_from_features
from mlflow_recall.core.recommend.cold_start_scores import (
    most_measured,
    reference_models,
    score_cold_start,
)
from mlflow_recall.core.recommend.evidence import FeatureColumn

NAN = math.nan
#: six models, each a step above the one before on every dataset, and a new model
MODELS = ("a", "b", "c", "d", "e", "f", "new")
STEPS = np.arange(6.0)
#: features are unrelated to strength; the new model looks like the weakest
FEATURES: dict[str, FeatureColumn] = {
    "family": ["x", "y", "x", "y", "x", "y", "x"],
    "layers": [1.0] * 7,
}


def history(datasets: int = 3) -> PerformanceMatrix:
    values = np.column_stack([STEPS * (1 + j) for j in range(datasets)])
    rows = np.vstack([values, np.full(datasets, NAN)])
    return PerformanceMatrix(MODELS, tuple("uvwxyz"[:datasets]), rows)


def scored(new_model: float, *, noise: FloatArray | None = None) -> dict[str, FloatArray]:
    """A score on the first two datasets that says what the step of a model is, and no more."""
    steps = np.append(STEPS if noise is None else noise, new_model)
    return {"logme": np.column_stack([steps, 10 * steps, np.full(7, NAN)])}


def estimates(recorded: dict[str, FloatArray]) -> tuple[ColdStartEstimate, ColdStartEstimate]:
    """By features alone, and by both."""
    matrix = history()
    groups = cluster_models(matrix.select_models(MODELS[:6]), count=2)
    alone = estimate_from_features(matrix, groups, FEATURES)
    (both,) = score_cold_start(alone, matrix, groups, FEATURES, recorded)
    return alone[0], both


def cut(deviations: float | np.floating[Any]) -> float:
    return 2.0 if deviations > 2 else -2.0 if deviations < -2 else float(deviations)


def slowly(values: list[tuple[list[float], float, list[float]]]) -> float:
    """The definition word by word: (scores of references, of the new model, outcomes) a column."""
    products = squares = 0.0
    columns = []
    for scores, own, outcomes in values:
        center, spread = np.mean(scores), np.std(scores)
        level = float(np.mean(outcomes))
        for score, outcome in zip(scores, outcomes, strict=True):
            far = cut((score - center) / spread)
            products += far * (outcome - level)
            squares += far**2
        columns.append((level, cut((own - center) / spread)))
    slope = (products + 4 * len(values) * 0.5) / (squares + 4 * len(values))
    return float(np.mean([level + slope * far for level, far in columns]))


def test_scores_say_what_the_transcription_says() -> None:
    """Two columns of one score, one of another whose outlier is cut at two deviations."""
    matrix = history()
    first = np.column_stack([[3, 1, 2, 5, 4, 6, 4.5], [2, 1, 3, 4, 6, 5, 3.5], [NAN] * 7])
    second = np.column_stack([[NAN] * 7, [NAN] * 7, [1, 2, 2, 3, 3, 4, 50.0]])
    outcomes = ((STEPS - STEPS.mean()) / STEPS.std()).tolist()
    groups = cluster_models(matrix.select_models(MODELS[:6]), count=2)

    (estimate,) = score_cold_start(
        estimate_from_features(matrix, groups, FEATURES), matrix, groups, FEATURES,
        {"logme": first, "hscore": second},
    )  # fmt: skip

    columns = [first[:, 0], first[:, 1], second[:, 2]]
    expected = slowly([(c[:6].tolist(), float(c[6]), outcomes) for c in columns])
    assert estimate.score_z_score == pytest.approx(expected)
    assert estimate.scored_datasets == ("u", "v", "w")


def test_scores_that_order_the_known_models_decide_where_features_do_not() -> None:
    """The new model scores as the strongest does, and looks like the weakest."""
    alone, both = estimates(scored(5.0))

    assert both.score_weight > 0.8
    assert both.z_score > 0.8 > alone.z_score
    group = cluster_models(history().select_models(MODELS[:6]), count=2).cluster_of("f")
    assert group is not None
    assert both.cluster_id == group.id
    assert both.nearest_model in ("e", "f")
    assert both.scored_datasets == ("u", "v")
    assert both.basis == "features and scores on 2 datasets"
    assert alone.basis == "features"


def test_strength_grows_with_the_score_and_ends_where_the_outlier_is_cut() -> None:
    z_scores = [estimates(scored(value))[1].z_score for value in (0.0, 2.0, 4.0, 100.0, 1e6)]

    assert z_scores[0] < z_scores[1] < z_scores[2] < z_scores[3] == pytest.approx(z_scores[4])


def test_scores_that_mislead_about_the_known_models_have_no_weight() -> None:
    """They say the opposite of what came out, while family says exactly what came out."""
    values = [[1, 1.1], [1.1, 1], [1, 1], [0, 0.1], [0.1, 0], [0, 0], [NAN] * 2]
    matrix = PerformanceMatrix(MODELS, ("u", "v"), np.array(values))
    features: dict[str, FeatureColumn] = {"family": ["x"] * 3 + ["y"] * 3 + ["x"]}
    groups = cluster_models(matrix.select_models(MODELS[:6]), count=2)
    opposite = np.column_stack([[0, 0.1, 0, 1, 1.1, 1, 0]] * 2)
    alone = estimate_from_features(matrix, groups, features)

    (both,) = score_cold_start(alone, matrix, groups, features, {"logme": opposite})

    assert both.score_weight < 0.1
    assert both.z_score == pytest.approx(alone[0].z_score, abs=0.2)


def test_unit_and_offset_of_a_score_do_not_matter() -> None:
    noise = np.array([0.3, 0.9, 2.4, 2.8, 4.1, 4.7])
    _, plain = estimates(scored(3.0, noise=noise))
    other = {name: -7 + 100 * values for name, values in scored(3.0, noise=noise).items()}

    _, scaled = estimates(other)

    assert scaled.z_score == pytest.approx(plain.z_score)
    assert scaled.score_weight == pytest.approx(plain.score_weight)


def test_features_alone_speak_where_too_few_models_or_no_newcomer_have_scores() -> None:
    """A slope and a weight from three models say nothing, and a constant score neither."""
    few = scored(5.0)["logme"].copy()
    few[3:6] = NAN
    missing = scored(NAN)
    constant = {"logme": np.ones((7, 3))}

    for recorded in ({"logme": few}, missing, constant, {}):
        alone, both = estimates(recorded)
        assert both == alone


def test_references_are_the_nearest_of_each_newcomer_and_others_from_weak_to_strong() -> None:
    """Three of the new model's family, then two of the others: the weakest and the strongest."""
    matrix = history()

    references = reference_models(matrix, FEATURES, MODELS, most=5)

    assert set(references[:3]) == {"a", "c", "e"}
    assert references[3:] == ("b", "f")
    assert "new" not in references
    assert "a" not in reference_models(matrix, FEATURES, set(MODELS) - {"a"}, most=5)
    assert len(reference_models(matrix, FEATURES, MODELS, most=2)) == 3
    assert len(reference_models(matrix, FEATURES, MODELS)) == 6


def test_datasets_with_the_most_measured_models_come_first() -> None:
    values = np.array([[1.0, 1.0, NAN], [2.0, NAN, NAN], [3.0, 2.0, 1.0]])
    matrix = PerformanceMatrix(("a", "b", "c"), ("x", "y", "z"), values)

    assert most_measured(matrix, ("z", "y", "x"), 2) == ("x", "y")
    assert most_measured(matrix, ("z",), 2) == ("z",)
