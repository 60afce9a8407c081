"""Facts of rules that are inferred: keys of model and dataset, metric and direction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from logged_runs import LIGHTNING, TIMM, hf, read, rules_of

from mlflow_recall.errors import ConfigError, HistoryError


def test_runs_of_three_conventions_are_one_history() -> None:
    selection = read(hf(), LIGHTNING, TIMM, modality="any")
    (rules,) = selection.rules.values()

    assert {c.cell for c in selection.accepted} == {("org--a", "sst2"), ("resnet18", "pets")}
    assert rules.metric == "accuracy"
    assert set(rules.validation) == {"eval_accuracy", "val_acc", "eval_top1"}
    assert set(rules.model) == {
        "params._name_or_path", "params.model_name", "params.model",
    }  # fmt: skip


def test_a_key_that_varies_has_precedence_over_a_constant_one() -> None:
    """``task_name`` is often the kind of task, the same in all runs."""
    runs = [
        hf(dataset="", score=score, params={"task_name": "classify", "data_name": name})
        for name, score in (("x", 0.1), ("y", 0.2))
    ]

    assert read(*runs).datasets == ("x", "y")


def test_a_configuration_is_part_of_the_dataset_name() -> None:
    runs = [
        hf(dataset="", params={"dataset_name": "glue", "dataset_config_name": name})
        for name in ("cola", "sst2")
    ]

    assert read(*runs).datasets == ("glue/cola", "glue/sst2")


def test_experiments_name_the_dataset_if_nothing_else_does() -> None:
    """One experiment for each dataset is common; a second one makes no difference."""
    runs = [hf(dataset="", experiment=name) for name in ("pets", "cars")]

    assert read(*runs).datasets == ("cars", "pets")
    assert read(runs[0]).datasets == ("pets",)


def test_no_model_names_what_differs_between_runs() -> None:
    runs = [hf(model="", score=s, params={"weights": w}) for s, w in ((0.1, "a"), (0.2, "b"))]

    with pytest.raises(HistoryError, match=r"model: none of 2 .*differ in params.weights.*--model"):
        read(*runs)
    assert read(*runs, model=("params.weights",)).models == ("a", "b")


def test_a_key_that_no_run_has_is_refused_with_a_run() -> None:
    with pytest.raises(HistoryError, match=r"model: none of 1 .*run \(org/a-ss\).*params.nope"):
        read(hf(), model=("params.nope",))


def test_a_score_is_preferred_to_a_loss_and_a_known_one_to_others() -> None:
    run = hf(metrics={"eval_f1": 0.3, "eval_balanced_accuracy": 0.4})

    assert rules_of(run).metric == "accuracy"
    assert rules_of(run, metric="f1").validation == ("eval_f1",)
    only = replace(run, metrics={"eval_loss": 0.5, "eval_runtime": 3.0, "train_runtime": 9.0})
    assert (rules_of(only).metric, rules_of(only).minimize) == ("loss", True)
    assert read(only, metric="log_loss").accepted[0].final_score == -0.5


def test_a_metric_that_no_run_has_lists_the_logged_ones() -> None:
    with pytest.raises(HistoryError, match=r"metric 'bleu': expected .*eval_bleu.*eval_accuracy"):
        read(hf(), metric="bleu")
    with pytest.raises(HistoryError, match=r"expected one of eval_x in 1 finished runs"):
        read(hf(), validation=("eval_x",))


def test_without_finished_runs_the_others_are_counted() -> None:
    with pytest.raises(HistoryError, match=r"expected finished runs of others, got 2 FAILED"):
        read(hf(status="FAILED"), hf(score=0.1, status="FAILED"))


# --- direction ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [
        {"validation": ("eval_loss",), "metric": "accuracy"},
        {"validation": ("eval_accuracy",), "test": ("eval_loss",)},
        {"validation": ("eval_accuracy",), "minimize": True},
        {"validation": ("eval_loss",), "test": ("eval_accuracy",), "metric": "q", "minimize": True},
    ],
)
def test_mixed_directions_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"mixed directions: .*-is-better"):
        read(hf(), **rules)


def test_params_of_the_trainer_decide_an_unknown_direction() -> None:
    params = {"metric_for_best_model": "drift", "greater_is_better": "False"}
    down = hf(metrics={"eval_drift": 0.4}, params=params)
    up = hf(score=0.1, metrics={"eval_drift": 0.4}, params={**params, "greater_is_better": "True"})

    assert read(down, metric="drift").accepted[0].final_score == -0.4
    assert read(up, metric="drift").accepted[0].final_score == 0.4
    with pytest.raises(ConfigError, match="mixed directions: greater_is_better of drift is True"):
        read(down, up, metric="drift")
    assert rules_of(down, up, metric="drift", minimize=True).minimize is True
