"""Facts of the regressions: linear, and with products of features."""

from __future__ import annotations

import math

import numpy as np
import pytest
from worlds import evidence

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence, Recommender
from mlflow_recall.core.recommend.factorization import factorization, products
from mlflow_recall.core.recommend.linear import linear
from mlflow_recall.core.recommend.regression_data import encode_features, regression_data
from mlflow_recall.errors import ConfigError

NAN = math.nan
BOTH = pytest.mark.parametrize("recommend", [linear, factorization])


def families(new: int = 0) -> Evidence:
    """Twenty models of two families, one of them better by far; the first ``new`` are unseen."""
    rng = np.random.default_rng(0)
    family = ["good" if i % 2 else "bad" for i in range(20)]
    strength = np.array([1.0 if name == "good" else 0.0 for name in family])
    values = strength[:, None] + 0.1 * rng.normal(size=(20, 6))
    values[:new] = NAN
    matrix = PerformanceMatrix(tuple(f"m{i:02d}" for i in range(20)), tuple("abcdef"), values)
    return Evidence(matrix, cluster_models(matrix, count=5), model_features={"family": family})


def test_features_by_hand() -> None:
    """Labels become centered columns, wide numbers logarithms; unknown is the mean."""
    got, names = encode_features({"kind": ["a", "b", "a", ""], "size": [1.0, 1000.0, NAN, 1.0]}, 4)

    assert names == ["kind=a", "size"]
    np.testing.assert_allclose(got[:, 0], [0.5, -0.5, 0.5, -0.5])
    np.testing.assert_allclose(got[:, 1], np.array([-1, 2, 0, -1]) / math.sqrt(2))


def test_columns_without_difference_are_left_out() -> None:
    got, names = encode_features({"kind": ["a", "a"], "size": [3.0, 3.0], "none": [NAN, NAN]}, 2)

    assert (got.shape, names) == ((2, 0), [])


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

    got = recommend(Evidence(one, cluster_models(one), model_features=first.model_features))

    assert {int(model[1:]) % 2 for model in got.models[:10]} == {1}


@BOTH
def test_a_score_that_told_the_past_is_believed(recommend: Recommender) -> None:
    given = evidence(noise=0.01, models=30, datasets=8)
    alone = Evidence(given.matrix, given.clustering)

    def agreement(known: Evidence) -> float:
        got = recommend(known)
        score = dict(zip(given.matrix.models, given.scores["s"], strict=True))
        return float(np.corrcoef(got.scores, [score[m] for m in got.models])[0, 1])

    assert agreement(given) > agreement(alone) + 0.3


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
        easier, first.clustering, model_features={"family": [family[i] for i in order]}
    )

    expected = dict(zip(recommend(first).models, recommend(first).scores, strict=True))
    got = dict(zip(recommend(moved).models, recommend(moved).scores, strict=True))

    for model, score in expected.items():
        assert got[model] == pytest.approx(score, abs=1e-4)


@BOTH
def test_who_is_unknown_altogether_comes_last(recommend: Recommender) -> None:
    first = families(new=1)

    got = recommend(Evidence(first.matrix, first.clustering))

    assert got.models[-1] == "m00"
    assert math.isnan(got.scores[-1])


@BOTH
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 0), (2, 5)])
def test_little_or_nothing_is_ranked_without_complaint(
    recommend: Recommender, shape: tuple[int, int]
) -> None:
    matrix = PerformanceMatrix(
        tuple("abc"[: shape[0]]), tuple("uvxyz"[: shape[1]]), np.full(shape, 0.5)
    )

    assert sorted(recommend(Evidence(matrix, cluster_models(matrix))).models) == sorted(
        matrix.models
    )


def test_parts_of_the_linear_prediction_add_up() -> None:
    got = linear(families())

    np.testing.assert_allclose(sum(got.parts.values()), got.scores, atol=1e-12)


def test_history_counts_its_own_dataset_never() -> None:
    """What is told of a recorded dataset does not change with its outcomes."""
    first = families()
    values = first.matrix.values.copy()
    values[:, 2] = values[::-1, 2]
    other = Evidence(
        PerformanceMatrix(first.matrix.models, first.matrix.datasets, values),
        first.clustering,
        model_features=first.model_features,
    )

    np.testing.assert_allclose(
        regression_data(first).recorded_rows[2], regression_data(other).recorded_rows[2]
    )


def test_products_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(4, 5)), rng.normal(size=(5, 3))
    slow = [
        sum(v[a] @ v[b] * row[a] * row[b] for a in range(5) for b in range(a + 1, 5)) for row in x
    ]

    np.testing.assert_allclose(products(x, v), slow)


def test_products_are_found_where_there_are_any() -> None:
    """One kind is good on large tasks, the other on small ones."""
    rng = np.random.default_rng(2)
    sign = np.array([1.0, -1.0] * 10)
    size = rng.choice([-1.0, 1.0], size=18)
    values = sign[:, None] * size + 0.1 * rng.normal(size=(20, 18))
    matrix = PerformanceMatrix(
        tuple(f"m{i:02d}" for i in range(20)), tuple(f"d{j}" for j in range(18)), values
    )
    given = Evidence(
        matrix,
        cluster_models(matrix, count=2),
        model_features={"kind": [float(s) for s in sign]},
        dataset_features={"size": [float(s) for s in size]},
        target_features={"size": -1.0},
    )

    assert {int(model[1:]) % 2 for model in factorization(given).models[:10]} == {1}


# --- class names ---------------------------------------------------------------------------------


def two_kinds(*, named: bool = True) -> Evidence:
    """Ten models good on animals, ten on colors; the target is called as animals are."""
    rng = np.random.default_rng(1)
    animals = np.array([1.0, 0, 1, 0, 1, 0, 1, 0])
    good = np.arange(20) < 10
    values = np.where(good[:, None] == (animals > 0), 1.0, 0.0) + 0.1 * rng.normal(size=(20, 8))
    matrix = PerformanceMatrix(tuple(f"m{i:02d}" for i in range(20)), tuple("abcdefgh"), values)
    kind = np.append(animals, 1.0)
    apart = np.where(kind[:, None] == kind, 0.1, 0.9)
    return Evidence(
        matrix, cluster_models(matrix, count=5), label_distance=apart if named else None
    )


@BOTH
def test_datasets_that_are_called_alike_teach_more(recommend: Recommender) -> None:
    """The history as a whole says nothing: each half of the models is good on half of it."""
    got = recommend(two_kinds())
    blind = recommend(two_kinds(named=False))

    assert {int(model[1:]) < 10 for model in got.models[:10]} == {True}
    assert {int(model[1:]) < 10 for model in blind.models[:10]} == {True, False}


def test_history_by_labels_is_the_mean_over_datasets_by_how_alike_they_are_called() -> None:
    given = two_kinds()
    cells = regression_data(given)
    z = (given.matrix.values - given.matrix.values.mean(0)) / given.matrix.values.std(0)
    near = 1 - given.label_distance[-1, :-1]  # type: ignore[index]

    assert cells.column_names[-1] == "history by labels"
    np.testing.assert_allclose(cells.target_rows[:, -1], z @ near / near.sum())
    assert len(cells.column_names) == cells.target_rows.shape[1] == cells.recorded_rows[0].shape[1]


def test_unknown_class_names_say_nothing() -> None:
    """As if nobody had asked, whatever else is known."""
    blind = two_kinds(named=False)
    unknown = Evidence(blind.matrix, blind.clustering, label_distance=np.full((9, 9), NAN))

    np.testing.assert_allclose(regression_data(unknown).target_rows[:, -1], 0.0)
    assert linear(unknown).models == linear(blind).models


def test_a_dataset_that_is_left_out_is_the_target_of_the_distances() -> None:
    apart = np.arange(81.0).reshape(9, 9)
    blind = two_kinds(named=False)
    given = Evidence(blind.matrix, blind.clustering, label_distance=apart)

    left = given.hold_out(3).label_distance

    order = [0, 1, 2, 4, 5, 6, 7, 3]
    np.testing.assert_array_equal(left, apart[np.ix_(order, order)])


def test_distances_of_another_shape_are_refused() -> None:
    blind = two_kinds(named=False)

    with pytest.raises(ConfigError, match=r"label_distance: expected shape \(9, 9\), got \(8, 8\)"):
        Evidence(blind.matrix, blind.clustering, label_distance=np.zeros((8, 8)))
