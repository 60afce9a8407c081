"""Facts of the interleaved ranking: one from the history, one from the scores, in turn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.interleaved import interleaved
from mlflow_recall.core.recommend.prior import prior

NAN = math.nan


def evidence(seed: int, new: int = 2) -> Evidence:
    """Ten models, the last ``new`` of them without history, and proxies with ties."""
    rng = np.random.default_rng(seed)
    values = rng.random((4, 6))[rng.integers(0, 4, 10)] + rng.normal(scale=0.01, size=(10, 6))
    values[rng.random(values.shape) < 0.2] = NAN
    values[10 - new :] = NAN
    matrix = PerformanceMatrix(tuple("jihgfedcba"), tuple("uvwxyz"), values)
    clustering = cluster_models(matrix, cut=0.1)
    return Evidence(
        matrix=matrix,
        clustering=clustering,
        representative_scores={
            name: float(rng.integers(0, 3)) for name in clustering.representatives
        },
    )


def slow_turns(given: Evidence) -> list[str]:
    """Place by place: the prior's, then the scores', whoever is not yet chosen."""
    history = list(prior(given).models)
    proxy = dict(zip(given.matrix.models, given.propagated_representative_scores(), strict=True))
    scored = sorted(
        (m for m in history if not math.isnan(proxy[m])),
        key=lambda m: (-proxy[m], history.index(m)),
    )
    chosen: list[str] = []
    for place in range(len(history)):
        for ranking in (history, scored):
            if place < len(ranking) and ranking[place] not in chosen:
                chosen.append(ranking[place])
    return chosen


@given(seed=st.integers(0, 2**32 - 1), new=st.integers(0, 10))
@settings(max_examples=40)
def test_the_two_rankings_take_turns(seed: int, new: int) -> None:
    known = evidence(seed, new)
    history = prior(known).models
    fresh = {m for m in known.matrix.models if known.clustering.cluster_of(m) is None}

    got = interleaved(known)

    assert list(got.models) == slow_turns(known)
    assert sorted(got.models) == sorted(known.matrix.models)
    assert got.models[0] == history[0]
    assert set(got.models[len(got.models) - len(fresh) :]) == fresh


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_twice_the_places_hold_the_best_of_both(seed: int) -> None:
    """What makes it a good *set*: the first 2 k hold the first k of either ranking."""
    known = evidence(seed, new=0)
    got = interleaved(known)
    proxy = dict(zip(got.models, got.parts["proxy"], strict=True))
    history = prior(known).models
    scored = sorted(history, key=lambda m: -proxy[m] if not math.isnan(proxy[m]) else math.inf)

    for k in range(1, 6):
        assert set(history[:k]) <= set(got.models[: 2 * k])
        if not np.isnan([proxy[m] for m in scored[:k]]).any():
            assert set(scored[:k]) <= set(got.models[: 2 * k])


def test_rankings_that_disagree_alternate_strictly() -> None:
    """The prior says a, b, c, d and the scores say d, c, b, a."""
    values = np.array([40.0, 30.0, 20.0, 10.0])[:, None] + np.zeros(2)
    matrix = PerformanceMatrix(tuple("abcd"), ("x", "y"), values)
    proxies = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}

    got = interleaved(
        Evidence(
            matrix=matrix, clustering=cluster_models(matrix, count=4), representative_scores=proxies
        )
    )

    assert got.models == ("a", "d", "b", "c")
    assert got.scores == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert got.parts["proxy"].tolist() == [1, 4, 2, 3]


def test_without_scores_it_is_the_prior() -> None:
    known = evidence(0)
    bare = Evidence(matrix=known.matrix, clustering=known.clustering)

    assert interleaved(bare).models == prior(bare).models


def test_models_of_one_cluster_stay_in_the_priors_order() -> None:
    known = evidence(3, new=0)
    got = interleaved(known).models

    for group in known.clustering.clusters:
        order = [m for m in prior(known).models if m in group.members]
        assert [m for m in got if m in group.members] == order


def test_an_empty_zoo_has_an_empty_ranking() -> None:
    matrix = PerformanceMatrix((), ("x",), np.empty((0, 1)))

    assert interleaved(Evidence(matrix=matrix, clustering=cluster_models(matrix))).models == ()


def test_several_scores_count_as_their_mean_place() -> None:
    """And one score of every model counts as it is."""
    values = np.array([40.0, 30.0, 20.0, 10.0])[:, None] + np.zeros(2)
    matrix = PerformanceMatrix(tuple("abcd"), ("x", "y"), values)
    score = np.array([1.0, 2.0, 3.0, 4.0])
    groups = cluster_models(matrix, count=4)

    one = interleaved(Evidence(matrix=matrix, clustering=groups, scores={"s": score}))
    two = interleaved(
        Evidence(matrix=matrix, clustering=groups, scores={"s": score, "t": 1e6 * score})
    )

    assert one.models == two.models == ("a", "d", "b", "c")
    assert one.parts["proxy"].tolist() == [1, 4, 2, 3]
