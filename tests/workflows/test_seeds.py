"""Finalists are trained with several seeds, and their mean decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean, stdev

import pytest
from prepared import (
    EPOCHS,
    RecordingReporter,
    Zoo,
    find_runs,
    registry_for,
    services_for,
    text_zoo,
)

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.config import RecallConfig, RecommendConfig, SelectConfig
from mlflow_recall.core.policies.budget import Budget
from mlflow_recall.errors import ConfigError
from mlflow_recall.ports import StageResult, TrainTask
from mlflow_recall.workflows.select import run_selection
from mlflow_recall.workflows.selection import SelectionResult, candidate_rows

pytestmark = pytest.mark.slow

#: model -> accuracy after the last stage with seeds 0, 1 and 2; the first is best with seed 0 alone
SCORES = {0: (0.9, 0.2, 0.4), 1: (0.8, 0.8, 0.8)}


@pytest.fixture
def text(store: str) -> Zoo:
    return text_zoo(store)


def select(
    zoo: Zoo, train: object = None, **settings: object
) -> tuple[SelectionResult, RecordingReporter]:
    """Select by brute force between two models."""
    services, reporter = services_for(zoo.uri, zoo.namespace)
    recommend = RecommendConfig(models=(zoo.everyone,), recommender="prior", top_k=2)
    recall = RecallConfig(dataset=zoo.target, recommend=recommend)
    config = SelectConfig(recall=recall, policy="brute_force", register_as="seeded", **settings)  # type: ignore[arg-type]
    if train is not None:
        services = replace(services, train=train)  # type: ignore[arg-type]
    return run_selection(config, services, registry_for(services)), reporter


def scored(zoo: Zoo, *, fails: bool = False) -> object:
    """Return a training whose scores follow from model and seed."""
    real = services_for(zoo.uri, zoo.namespace)[0].train
    known: list[str] = []

    def train(task: TrainTask) -> Iterator[StageResult]:
        if task.member.name not in known:
            known.append(task.member.name)
        score = SCORES[known.index(task.member.name)][task.recipe.seed]
        if fails and task.recipe.seed == 2:
            raise RuntimeError("broken on purpose")
        for result in real(task):
            value = score if result.stage == EPOCHS else result.validation.get("accuracy", 0.0)
            yield replace(result, validation={**result.validation, "accuracy": value})

    return train


def test_the_best_mean_wins_and_the_page_shows_the_spread(text: Zoo) -> None:
    alone, _ = select(text, scored(text))
    result, _ = select(text, scored(text), seeds=3)

    first, second = (c.name for c in result.candidates)
    assert (alone.winner.name, result.winner.name) == (first, second)
    rows = {row["model"]: row for row in candidate_rows(result)}
    for name, scores in zip((first, second), SCORES.values(), strict=True):
        row = rows[name]
        assert (row["seeds"], row["mean"]) == (3, pytest.approx(fmean(scores)))
        assert row["std"] == pytest.approx(stdev(scores))
    assert "mean over 3 seeds" in result.winner.reason
    assert result.candidates[0].reason.endswith(f"{second} has a higher mean over 3 seeds")
    assert result.epochs == 2 * 3 * EPOCHS
    assert "seeds" not in candidate_rows(alone)[0]


def test_every_seed_is_a_run_with_its_recipe(text: Zoo) -> None:
    result, _ = select(text, seeds=2)

    repeats = find_runs(text.uri, text.namespace, "repeat", "select")
    runs = [r for r in repeats if r.data.tags["mlflow.parentRunId"] == result.run_id]
    assert {run.data.params["recipe.seed"] for run in runs} == {"1"}
    assert {run.data.tags[tags.MODEL] for run in runs} == {c.name for c in result.candidates}
    assert all(run.info.status == "FINISHED" for run in runs)
    assert all(run.data.tags[tags.STAGE] == str(EPOCHS) for run in runs)
    for candidate in result.candidates:
        assert len(set(candidate.final_scores)) >= 1
        assert len(candidate.final_scores) == 2


def test_a_seed_that_fails_is_left_out_and_said(text: Zoo) -> None:
    result, reporter = select(text, scored(text, fails=True), seeds=3)

    assert [len(c.final_scores) for c in result.candidates] == [2, 2]
    assert sum("with seed 2: " in line for line in reporter.warnings) == 2


def test_seeds_and_a_budget_are_one_line() -> None:
    recall = RecallConfig(dataset=None)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="seeds: expected 1 beside a budget of 5 epochs, got 2"):
        SelectConfig(recall=recall, seeds=2, budget=Budget(5.0))
    with pytest.raises(ConfigError, match="seeds: expected 1 or more, got 0"):
        SelectConfig(recall=recall, seeds=0)
