"""Facts of a row of the recommenders: which evidence each is given, and which score is the main."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from worlds import evidence

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence, Ranking
from mlflow_recall.core.recommend.spec import RecommenderSpec, main_score
from mlflow_recall.errors import RecallError

NAMES = sorted(RECOMMENDERS)


def test_the_papers_recommenders_are_given_one_score_without_its_record() -> None:
    """The paper has one proxy score of the target, and none of the benchmark datasets."""
    first = evidence()
    scores = {"a": first.scores["s"], "logme": -first.scores["s"]}
    known = replace(first, scores=scores, recorded_scores={})

    for name in NAMES:
        selected = RECOMMENDERS[name].select_evidence(known)
        if name in ("paper", "paper_code"):
            assert selected.scores.keys() == {"logme"}
            assert selected.recorded_scores == {}
        else:
            assert selected is known


def test_evidence_without_scores_stays_without() -> None:
    first = evidence()
    known = replace(first, scores={}, recorded_scores={})

    assert RECOMMENDERS["paper"].select_evidence(known).scores == {}


@pytest.mark.parametrize(
    ("scores", "name"),
    [
        ({}, None),
        ({"b": 1, "a": 2}, "a"),
        ({"a": 1, "LogME": 2}, "LogME"),
        ({"a": 1, "logme": 2}, "logme"),
    ],
)
def test_logme_is_the_main_score_else_the_first_by_name(
    scores: dict[str, int], name: str | None
) -> None:
    assert main_score(scores) == name


def without_scores(known: Evidence) -> Evidence:
    return replace(known, scores={}, recorded_scores={})


def positive(known: Evidence) -> Evidence:
    """The same with scores and clusters as the paper's product needs them."""
    matrix = replace(known.matrix, values=known.matrix.values - known.matrix.values.min() + 0.1)
    return replace(known, matrix=matrix, clustering=cluster_models(matrix, count=4))


def ranking_of(name: str, known: Evidence) -> Ranking | None:
    """A recommender's ranking; None where it refuses."""
    try:
        return RECOMMENDERS[name].rank(known)
    except RecallError:
        return None


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_what_its_recommender_does_with_scores(name: str) -> None:
    """Nobody is probed for a ranking that scores cannot change; without them the history ranks."""
    known = positive(evidence())
    row = RECOMMENDERS[name]
    scored, bare = ranking_of(name, known), ranking_of(name, without_scores(known))

    assert scored is not None
    if row.needs_scores:
        prior = RECOMMENDERS["prior"].rank(without_scores(known))
        assert bare is None or bare.models == prior.models
    else:
        assert bare is not None
        is_changed = scored.models != bare.models or not np.allclose(scored.scores, bare.scores)
        assert is_changed == row.uses_scores


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_whether_its_recommender_compares_class_names(name: str) -> None:
    """Distances of class names are computed only for a recommender that reads them."""
    known = positive(evidence())
    rng = np.random.default_rng(0)
    distance = rng.random((7, 7))
    with_names = replace(known, label_distance=(distance + distance.T) / 2)

    one, two = RECOMMENDERS[name].rank(known), RECOMMENDERS[name].rank(with_names)

    is_changed = one.models != two.models or not np.allclose(one.scores, two.scores)
    assert is_changed == RECOMMENDERS[name].reads_labels


def test_rank_and_summary_make_a_row() -> None:
    """An installed recommender is probed for unless it says otherwise."""
    row = RecommenderSpec(rank=RECOMMENDERS["prior"].rank, summary="mean")

    assert (row.uses_scores, row.needs_scores) == (True, False)
    assert (row.takes_one_score, row.reads_labels) == (False, False)
