"""Facts of the linear regression, most of which the factorization machine keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from worlds import evidence, families, two_kinds

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence, Recommender
from mlflow_recall.core.recommend.factorization import factorization
from mlflow_recall.core.recommend.linear import linear
from mlflow_recall.core.recommend.regression_data import regression_data

NAN = math.nan
BOTH = pytest.mark.parametrize("recommend", [linear, factorization])


@BOTH
def test_models_without_history_are_ranked_by_their_family(recommend: Recommender) -> None:
    got = recommend(families(new=4))
    place = {model: i for i, model in enumerate(got.models)}

    assert not np.isnan(got.scores).any()
    assert max(place["m01"], place["m03"]) < min(place["m00"], place["m02"])


@BOTH
def test_one_recorded_dataset_is_enough_to_predict_another(recommend: Recommender) -> None:
    first = families()
    one = PerformanceMatrix(first.matrix.models, ("a",), first.matrix.values[:, :1])

    got = recommend(
        Evidence(matrix=one, clustering=cluster_models(one), model_features=first.model_features)
    )

    assert {int(model[1:]) % 2 for model in got.models[:10]} == {1}


@BOTH
def test_a_score_that_agrees_with_the_history_has_weight(recommend: Recommender) -> None:
    known = evidence(noise=0.01, models=30, datasets=8)
    alone = Evidence(matrix=known.matrix, clustering=known.clustering)

    def agreement(part: Evidence) -> float:
        got = recommend(part)
        score = dict(zip(known.matrix.models, known.scores["s"], strict=True))
        return float(np.corrcoef(got.scores, [score[m] for m in got.models])[0, 1])

    assert agreement(known) > agreement(alone) + 0.3


@BOTH
def test_the_order_of_candidates_and_the_difficulty_of_datasets_do_not_matter(
    recommend: Recommender,
) -> None:
    first = families(new=2)
    rng = np.random.default_rng(5)
    order = rng.permutation(20)
    easier = PerformanceMatrix(
        tuple(np.array(first.matrix.models, dtype=object)[order]),
        first.matrix.datasets,
        first.matrix.values[order] + 1.0,
    )
    family = list(first.model_features["family"])
    moved = Evidence(
        matrix=easier,
        clustering=first.clustering,
        model_features={"family": [family[i] for i in order]},
    )

    expected = dict(zip(recommend(first).models, recommend(first).scores, strict=True))
    got = dict(zip(recommend(moved).models, recommend(moved).scores, strict=True))

    for model, score in expected.items():
        assert got[model] == pytest.approx(score, abs=1e-4)


@BOTH
def test_a_model_of_which_nothing_is_known_comes_last(recommend: Recommender) -> None:
    first = families(new=1)

    got = recommend(Evidence(matrix=first.matrix, clustering=first.clustering))

    assert got.models[-1] == "m00"
    assert math.isnan(got.scores[-1])


@BOTH
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 0), (2, 5)])
def test_regressions_rank_little_or_nothing(recommend: Recommender, shape: tuple[int, int]) -> None:
    matrix = PerformanceMatrix(
        tuple("abc"[: shape[0]]), tuple("uvxyz"[: shape[1]]), np.full(shape, 0.5)
    )

    assert sorted(
        recommend(Evidence(matrix=matrix, clustering=cluster_models(matrix))).models
    ) == sorted(matrix.models)


@BOTH
def test_datasets_with_similar_class_names_count_more(recommend: Recommender) -> None:
    """The whole history has no order: each half of the models is good on half of it."""
    got = recommend(two_kinds())
    blind = recommend(two_kinds(named=False))

    assert {int(model[1:]) < 10 for model in got.models[:10]} == {True}
    assert {int(model[1:]) < 10 for model in blind.models[:10]} == {True, False}


def test_parts_of_the_linear_prediction_add_up() -> None:
    got = linear(families())

    np.testing.assert_allclose(sum(got.parts.values()), got.scores, atol=1e-12)


def test_unknown_class_names_change_nothing() -> None:
    """They are like no class names at all."""
    blind = two_kinds(named=False)
    unknown = Evidence(
        matrix=blind.matrix, clustering=blind.clustering, label_distance=np.full((9, 9), NAN)
    )

    np.testing.assert_allclose(regression_data(unknown).target_rows[:, -1], 0.0)
    assert linear(unknown).models == linear(blind).models
