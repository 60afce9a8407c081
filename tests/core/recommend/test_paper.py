"""Facts of the paper's coarse recall: equations 2 to 4."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.paper import paper, paper_code
from mlflow_recall.errors import ConfigError

NAN = math.nan


def random_evidence(seed: int) -> Evidence:
    """Three families, two loners and a model without history, shuffled, with missing cells."""
    rng = np.random.default_rng(seed)
    values = rng.random((5, 9))[[0, 0, 0, 1, 1, 2, 2, 3, 4]]
    values = np.clip(values + rng.normal(scale=0.01, size=values.shape), 0, 1)
    values[rng.random(values.shape) < 0.1] = NAN
    values = rng.permutation(np.vstack([values, np.full(9, NAN)]))
    matrix = PerformanceMatrix(tuple("abcdefghij"), tuple(map(str, range(9))), values)
    clustering = cluster_models(matrix, cut=0.1)
    return Evidence(
        matrix=matrix,
        clustering=clustering,
        representative_scores={name: float(rng.normal()) for name in clustering.representatives},
    )


def slow_paper(evidence: Evidence) -> dict[str, float]:
    """Equations 1 to 4, model by model; NaN without history, unlike where 4 of 9 are shared."""
    matrix = evidence.matrix
    raw = evidence.representative_scores
    low, high = min(raw.values()), max(raw.values())
    p = {name: (value - low) / (high - low) for name, value in raw.items()}
    scores = {}
    for model in matrix.models:
        row = matrix.values[matrix.models.index(model)]
        cluster_of = next((c for c in evidence.clustering.clusters if model in c.members), None)
        if cluster_of is None:
            scores[model] = NAN
            continue
        accuracy = float(np.nanmean(row))
        if len(cluster_of.members) > 1:
            scores[model] = accuracy * p[cluster_of.representative]
            continue
        parts = []
        for name, value in p.items():
            other = matrix.values[matrix.models.index(name)]
            both = sorted(d for d in np.abs(row - other) if not math.isnan(d))
            similarity = 1 - float(np.mean(both[-5:])) if len(both) >= 5 else 0.0
            parts.append(max(0.0, similarity) * value)
        scores[model] = accuracy * sum(parts) / len(parts)
    return scores


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_scores_equal_equations_2_to_4(seed: int) -> None:
    evidence = random_evidence(seed)
    assume(
        len(evidence.representative_scores) > 1
    )  # missing cells can leave one cluster of several
    expected = slow_paper(evidence)

    got = paper(evidence)

    np.testing.assert_allclose(got.scores, [expected[m] for m in got.models], atol=1e-12)
    assert (np.diff(got.scores[:-1]) <= 0).all()
    np.testing.assert_allclose(got.parts["mean"] * got.parts["proxy"], got.scores)


def test_the_unit_and_origin_of_the_proxy_do_not_matter() -> None:
    """Equation 2 normalizes it to [0, 1]."""
    first = random_evidence(5)
    moved = {name: 1e3 * value - 7 for name, value in first.representative_scores.items()}

    got = paper(
        Evidence(matrix=first.matrix, clustering=first.clustering, representative_scores=moved)
    )

    assert got.models == paper(first).models
    np.testing.assert_allclose(got.scores, paper(first).scores)


def test_equal_proxies_leave_the_mean_accuracy_among_members() -> None:
    first = random_evidence(6)
    same = Evidence(
        matrix=first.matrix,
        clustering=first.clustering,
        representative_scores=dict.fromkeys(first.representative_scores, -0.7),
    )

    got = paper(same)

    members = [
        i
        for i, m in enumerate(got.models)
        if (c := first.clustering.cluster_of(m)) and not c.is_singleton
    ]
    np.testing.assert_allclose(got.scores[members], got.parts["mean"][members])


def test_models_without_history_come_last() -> None:
    for seed in range(5):
        evidence = random_evidence(seed)
        (new,) = (m for m in evidence.matrix.models if evidence.clustering.cluster_of(m) is None)

        assert paper(evidence).models[-1] == new


def test_the_order_of_candidates_is_not_that_of_the_clustering() -> None:
    """Candidates are filtered and sorted after clustering; distances must follow the names."""
    first = random_evidence(7)
    names = sorted(first.matrix.models, reverse=True)
    measured = [name for name in names if name in first.representative_scores or name in "aceg"]
    expected = dict(zip(paper(first).models, paper(first).scores, strict=True))

    for candidates in (names, measured):
        got = paper(
            Evidence(
                matrix=first.matrix.select_models(candidates),
                clustering=first.clustering,
                representative_scores=first.representative_scores,
            )
        )

        assert sorted(got.models) == sorted(candidates)
        np.testing.assert_allclose(got.scores, [expected[m] for m in got.models])


def test_a_proxy_of_someone_without_history_or_without_value_is_left_out() -> None:
    first = random_evidence(8)
    (new,) = (m for m in first.matrix.models if first.clustering.cluster_of(m) is None)
    loner = next(c.representative for c in first.clustering.clusters if c.is_singleton)
    useless = {new: 9.0, "nobody": 9.0, loner: NAN}

    got = paper(
        Evidence(
            matrix=first.matrix,
            clustering=first.clustering,
            representative_scores={**first.representative_scores, **useless},
        )
    )

    np.testing.assert_allclose(got.scores, paper(first).scores)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_proxies_cannot_be_normalized(count: int) -> None:
    first = random_evidence(9)
    few = dict(list(first.representative_scores.items())[:count])

    with pytest.raises(ConfigError, match=f"two clusters or more, got {count}: use --recommender"):
        paper(Evidence(matrix=first.matrix, clustering=first.clustering, representative_scores=few))


def test_the_released_code_deviates_in_three_places() -> None:
    """Own exp(LEEP) for a member of a cluster; cosine decay for a singleton."""
    values = np.array([[0.9, 0.8], [0.9, 0.7], [0.2, 0.4], [0.2, 0.3], [0.1, 0.9]])
    matrix = PerformanceMatrix(tuple("abcde"), ("x", "y"), values)
    clustering = cluster_models(matrix, count=3)
    leep = np.array([-0.1, -0.2, -0.3, -0.4, -0.5])
    assert clustering.representatives == ("a", "c")

    got = paper_code(Evidence(matrix=matrix, clustering=clustering, scores={"leep": leep}))

    def cosine(i: int, j: int) -> float:
        size = float(np.linalg.norm(values[i]) * np.linalg.norm(values[j]))
        return float(values[i] @ values[j]) / size

    carried = dict(zip("abcd", np.exp(leep[:4]), strict=True))
    carried["e"] = (cosine(4, 0) * math.exp(-0.1) + cosine(4, 2) * math.exp(-0.3)) / 2
    for model, proxy in zip(got.models, got.parts["proxy"], strict=True):
        assert proxy == pytest.approx(carried[model])
    np.testing.assert_allclose(got.parts["mean"] * got.parts["proxy"], got.scores)


def test_a_score_of_everyone_is_used_of_the_representatives_only() -> None:
    first = random_evidence(5)
    everyone = np.array([first.representative_scores.get(m, 99.0) for m in first.matrix.models])

    got = paper(
        Evidence(matrix=first.matrix, clustering=first.clustering, scores={"leep": everyone})
    )

    np.testing.assert_allclose(got.scores, paper(first).scores)
