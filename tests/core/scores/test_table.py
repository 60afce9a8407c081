"""Facts of the table of scores: every row is whole, and one decomposition serves several scores."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from unittest.mock import patch

import numpy as np
import pytest
from labeled import sample, sample_of

from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS
from mlflow_recall.core.scores import SCORES, ForwardPass
from mlflow_recall.core.scores.features import unit_rows
from mlflow_recall.core.scores.table import Score, compute_all
from mlflow_recall.errors import ScoreInputError


def test_scores_of_embeddings_can_share_a_decomposition_and_those_of_a_head_cannot() -> None:
    for row in SCORES.values():
        assert (row.shared is not None) == (row.needs == "embeddings")
        assert row.needs == "embeddings" or not row.unit


@pytest.mark.parametrize("name", sorted(SCORES))
def test_a_score_lies_in_its_stated_range(name: str) -> None:
    """Of classes that are well apart, of noise, and of a head that knows them or does not."""
    rng = np.random.default_rng(0)
    for apart in (0.0, 3.0):
        features, labels = sample(60, 6, apart=apart)
        head = rng.dirichlet(np.ones(4), 60) if not apart else np.eye(4)[labels] * 0.97 + 0.0075
        given = ForwardPass(labels=labels, embeddings=features, probabilities=head)

        value = compute_all([name], given).values[name]

        assert SCORES[name].low - 1e-9 <= value <= SCORES[name].high + 1e-9
        assert np.isfinite(value)


def test_length_one_is_what_the_score_asks_for_unless_the_pass_says_otherwise() -> None:
    features, labels = sample(20, 4)
    lengths = [np.linalg.norm(features, axis=1), np.ones(20)]

    def is_unit(normalize: bool | None, *, unit: bool) -> bool:
        used = ForwardPass(labels=labels, embeddings=features, normalize=normalize).features(
            unit=unit
        )
        plain = ForwardPass(labels=labels, embeddings=features).plain
        return not np.allclose(used.space.rows, plain.space.rows)

    assert lengths[0].std() > 0
    assert [is_unit(None, unit=u) for u in (False, True)] == [False, True]
    assert [is_unit(True, unit=u) for u in (False, True)] == [True, True]
    assert [is_unit(False, unit=u) for u in (False, True)] == [False, False]


def test_a_row_of_another_package_is_computed_on_the_arrays_themselves() -> None:
    """It needs no shared decomposition, and what it refuses is a reason like any other."""

    def narrow(rows: np.ndarray, labels: np.ndarray) -> float:
        if rows.shape[1] > 4:
            raise ScoreInputError(f"expected four dimensions at most, got {rows.shape[1]}")
        return float(len(labels))

    table = {"narrow": Score(compute=narrow, needs="embeddings", low=0.0, high=inf, cost="O(1)")}
    features, labels = sample(20, 4)

    assert compute_all(
        ["narrow"], ForwardPass(labels=labels, embeddings=features), table=table
    ).values == {"narrow": 20.0}
    wide = ForwardPass(labels=labels, embeddings=np.hstack([features, features]))
    assert compute_all(["narrow"], wide, table=table).left_out == {
        "narrow": "expected four dimensions at most, got 8"
    }


# --- several scores of one model ----------------------------------------------------------------


def forward_pass(n: int = 60, d: int = 8, *, normalize: bool | None = None) -> ForwardPass:
    features, labels = sample(n, d)
    theta = np.random.default_rng(0).dirichlet(np.ones(5), n)
    return ForwardPass(labels=labels, embeddings=features, probabilities=theta, normalize=normalize)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 45)])
def test_scores_computed_together_are_those_computed_alone(n: int, d: int) -> None:
    one = forward_pass(n, d)

    got = compute_all(SCORES, one).values

    assert one.embeddings is not None
    rows = {
        name: unit_rows(one.embeddings) if score.unit else getattr(one, score.needs)
        for name, score in SCORES.items()
    }
    assert got == {n: score.compute(rows[n], one.labels) for n, score in SCORES.items()}


@pytest.mark.parametrize(("normalize", "times"), [(None, 2), (True, 1), (False, 1)])
def test_the_embeddings_are_decomposed_once_as_they_are_and_once_at_length_one(
    normalize: bool | None, times: int
) -> None:
    with patch("numpy.linalg.eigh", wraps=np.linalg.eigh) as eigh:
        compute_all(SCORES, forward_pass(normalize=normalize))

    assert eigh.call_count == times


def test_transrate_sees_length_one_unless_told_otherwise() -> None:
    """Its distortion is in the squared unit of the features, so that lengths would decide."""
    one = forward_pass()
    assert one.embeddings is not None
    shorter = replace(one, embeddings=one.embeddings / 1000)

    def transrate(given: ForwardPass) -> float:
        return compute_all(["transrate"], given).values["transrate"]

    assert transrate(shorter) == pytest.approx(transrate(one))
    plain = transrate(replace(one, normalize=False))
    assert transrate(replace(shorter, normalize=False)) < plain / 2


def test_rows_can_be_brought_to_length_one() -> None:
    one = forward_pass(normalize=True)
    assert one.embeddings is not None
    unit = one.embeddings / np.linalg.norm(one.embeddings, axis=1, keepdims=True)

    got = compute_all(["logme", "transrate"], one).values

    assert got["logme"] == SCORES["logme"].compute(unit, one.labels)
    assert got["transrate"] == SCORES["transrate"].compute(unit, one.labels)
    assert compute_all(["leep"], one) == compute_all(["leep"], forward_pass())


def test_samples_and_labels_can_be_exchanged() -> None:
    """With the Gram matrix of all samples where n < d, anew otherwise."""
    for n, d in ((60, 8), (30, 45)):
        one = forward_pass(n, d)
        assert one.embeddings is not None
        assert one.probabilities is not None
        index, labels = np.arange(0, n, 2), np.roll(one.labels, 1)
        fewer = ForwardPass(
            labels=one.labels[index],
            embeddings=one.embeddings[index],
            probabilities=one.probabilities[index],
        )
        other = ForwardPass(
            labels=labels, embeddings=one.embeddings, probabilities=one.probabilities
        )
        names = [name for name in SCORES if name != "nleep"]

        assert compute_all(names, one.select_rows(index)).values == pytest.approx(
            compute_all(names, fewer).values, rel=1e-8
        )
        assert compute_all(SCORES, one.with_labels(labels)) == compute_all(SCORES, other)


def test_a_missing_score_has_a_reason() -> None:
    features, labels = sample(20, 3)
    table = {**SCORES, "nothing": replace(SCORES["leep"], compute=lambda *_: nan)}

    got = compute_all(["leep", "logme"], ForwardPass(labels=labels, embeddings=features))

    assert list(got.values) == ["logme"]
    assert got.left_out == {"leep": "expected probabilities, got none"}
    assert (
        compute_all(["lfc"], ForwardPass(labels=labels))
        .left_out["lfc"]
        .startswith("expected embeddings, got none")
    )
    assert "one of" not in str(compute_all(["nothing"], forward_pass(), table=table).left_out)
    assert compute_all(["nothing"], forward_pass(), table=table).left_out == {
        "nothing": "it is nan"
    }


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ScoreInputError, match="unknown score 'logmee': expected one of gbc, "):
        compute_all(["logmee"], forward_pass())


# --- tasks --------------------------------------------------------------------------------------

OTHER_TASKS = pytest.mark.parametrize("task", [MULTILABEL, REGRESSION])


def forward_pass_of(task: str, n: int = 60, d: int = 8) -> ForwardPass:
    features, targets = sample_of(task, n, d)
    head = np.full((n, 2), 0.5)
    return ForwardPass(labels=targets, embeddings=features, probabilities=head, task=task)


@OTHER_TASKS
@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 45)])
def test_scores_of_any_task_computed_together_are_those_computed_alone(
    task: str, n: int, d: int
) -> None:
    one = forward_pass_of(task, n, d)
    served = {name: score for name, score in SCORES.items() if task in score.tasks}

    with patch("numpy.linalg.eigh", wraps=np.linalg.eigh) as eigh:
        got = compute_all(served, one)

    assert one.embeddings is not None
    rows = {False: one.embeddings, True: unit_rows(one.embeddings)}
    assert got.values == {
        name: score.compute(rows[score.unit], one.labels, task=task)
        for name, score in served.items()
    }
    assert got.left_out == {}
    assert eigh.call_count == 2


@OTHER_TASKS
def test_samples_and_targets_of_any_task_can_be_exchanged(task: str) -> None:
    names = [name for name, score in SCORES.items() if task in score.tasks and name != "nleep"]
    for n, d in ((60, 8), (30, 45)):
        one = forward_pass_of(task, n, d)
        assert one.embeddings is not None
        index, labels = np.arange(0, n, 2), np.roll(one.labels, 1, axis=0)
        fewer = replace(one, labels=one.labels[index], embeddings=one.embeddings[index])
        other = replace(one, labels=labels)

        assert compute_all(names, one.select_rows(index)).values == pytest.approx(
            compute_all(names, fewer).values, rel=1e-8
        )
        assert compute_all(names, one.with_labels(labels)) == compute_all(names, other)


def test_a_score_that_does_not_serve_the_task_is_left_out_with_one_line() -> None:
    names = ["logme", "hscore", "leep"]

    numbers = compute_all(names, forward_pass_of(REGRESSION))
    labels = compute_all(names, forward_pass_of(MULTILABEL))

    assert list(numbers.values) == ["logme"]
    assert numbers.left_out == {
        "hscore": "expected a task of classification or multilabel, got 'regression'",
        "leep": "expected a task of classification, got 'regression'",
    }
    assert list(labels.values) == ["logme", "hscore"]
    assert labels.left_out == {"leep": "expected a task of classification, got 'multilabel'"}


def test_an_unknown_task_is_served_by_none() -> None:
    got = compute_all(["logme"], replace(forward_pass(), task="ranking"))

    assert got.left_out == {
        "logme": "expected a task of classification, multilabel or regression, got 'ranking'"
    }


def test_constant_numbers_are_one_line() -> None:
    one = replace(forward_pass_of(REGRESSION), labels=np.full(60, 7.0))

    got = compute_all(["logme", "knn"], one)

    assert got.values == {}
    assert set(got.left_out.values()) == {"target 0 is constant: nothing to regress"}


def test_a_row_of_another_package_is_told_the_task_if_it_serves_several() -> None:
    """A row that says nothing of tasks serves classification, and is not told."""

    def of_classes(rows: np.ndarray, labels: np.ndarray) -> float:
        return float(len(labels))

    def of_any(rows: np.ndarray, labels: np.ndarray, *, task: str) -> float:
        return float(len(task))

    table = {
        "classes": Score(compute=of_classes, needs="embeddings", low=0.0, high=inf, cost="O(1)"),
        "any": Score(
            compute=of_any, needs="embeddings", low=0.0, high=inf, cost="O(1)", tasks=TASKS
        ),
    }

    got = {task: compute_all(table, forward_pass_of(task), table=table) for task in TASKS}

    assert got[CLASSIFICATION].values == {"classes": 60.0, "any": 14.0}
    assert got[REGRESSION].values == {"any": 10.0}
    assert list(got[REGRESSION].left_out) == ["classes"]


def test_the_range_of_a_rank_correlation_is_that_of_numbers_only() -> None:
    assert [SCORES["knn"].range_of(task) for task in TASKS] == [(0, 1), (0, 1), (-1, 1)]
    assert [SCORES["parc"].range_of(task) for task in TASKS] == [(-100, 100)] * 3
