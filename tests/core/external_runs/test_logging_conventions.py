"""Facts of how other training code logs its runs: names of metrics, params and units."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logged_runs import LIGHTNING, TIMM, hf, read

from mlflow_recall.core.external_runs.logging_conventions import (
    LoggedRun,
    canonical_metric,
    detect_convention,
    infer_modality,
    is_interrupted,
    is_minimized,
    parse_metric_key,
    read_value,
    trained_epochs,
)


@pytest.mark.parametrize(
    ("key", "parsed"),
    [
        ("eval_accuracy", ("validation", "accuracy")),  # HF Trainer
        ("test_accuracy", ("test", "accuracy")),
        ("eval_f1", ("validation", "f1")),
        ("eval_matthews_correlation", ("validation", "matthews")),
        ("val_acc", ("validation", "accuracy")),  # Lightning
        ("val/acc", ("validation", "accuracy")),
        ("val_acc_epoch", ("validation", "accuracy")),
        ("val/MulticlassAccuracy", ("validation", "accuracy")),
        ("valid_loss", ("validation", "loss")),
        ("test_acc/dataloader_idx_0", ("test", "accuracy")),
        ("eval_top1", ("validation", "accuracy")),  # timm
        ("eval_top5", ("validation", "top5")),
        ("val_acc_step", None),
        ("train_acc", None),
        ("val/acc_best", ("validation", "acc_best")),  # no accuracy: its maximum so far
        ("accuracy", None),
        ("evaluation", None),
    ],
)
def test_a_key_has_split_and_metric(key: str, parsed: tuple[str, str] | None) -> None:
    assert parse_metric_key(key) == parsed


@pytest.mark.parametrize(
    ("metric", "lower"),
    [("loss", True), ("log_loss", True), ("word_error", True), ("accuracy", False),
     ("acc", False), ("f1", False), ("quality", None), ("glossary", None)],
)  # fmt: skip
def test_words_of_a_name_decide_the_direction(metric: str, lower: bool | None) -> None:
    assert is_minimized(metric) is lower


def test_a_canonical_name_is_its_own() -> None:
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "matthews", "log_loss"):
        assert canonical_metric(name) == name


def test_each_convention_is_detected() -> None:
    runs = (hf(), LIGHTNING, TIMM, LoggedRun(run_id="o", name="o", experiment="e"))

    assert [detect_convention(run) for run in runs] == ["HF Trainer", "Lightning", "timm", "other"]


def test_epochs_are_a_fraction_behind_or_the_index_of_the_running_one() -> None:
    """Early stopping makes the params' number wrong; it counts only where none is logged."""
    assert trained_epochs(hf(metrics={"epoch": 2.0})) == 2
    assert trained_epochs(hf(metrics={"epoch": 2.5})) == 3
    assert trained_epochs(LIGHTNING) == 5
    assert trained_epochs(TIMM) == 3
    assert (
        trained_epochs(LoggedRun(run_id="o", name="o", experiment="e", params={"epochs": "7"})) == 7
    )
    assert (
        trained_epochs(LoggedRun(run_id="o", name="o", experiment="e", params={"epochs": "many"}))
        == 0
    )


def test_a_trainer_without_a_runtime_was_interrupted() -> None:
    """MLflow closes such a run as FINISHED; one that stopped early on purpose logs its runtime."""
    stopped = hf(metrics={"epoch": 1.0})
    killed = replace(stopped, metrics={"epoch": 1.0, "eval_accuracy": 0.5})

    assert not is_interrupted(stopped)
    assert is_interrupted(killed)
    assert read(killed, hf()).left_out["interrupted before its last epoch"] == (killed,)


def test_params_of_one_modality_only_decide_it() -> None:
    image = replace(hf(), params={"image_size": "224", "per_device_train_batch_size": "8"})

    assert [infer_modality(run) for run in (hf(), image, TIMM, LIGHTNING)] == [
        "text", "image", "image", "",
    ]  # fmt: skip


def test_a_value_is_looked_up_where_its_key_points() -> None:
    run = LoggedRun(
        run_id="r", name="name", experiment="exp", params={"a": "1", "b": "None"},
        tags={"a": "2", "c": "3"},
        inputs=("dataset", "imdb"),
    )  # fmt: skip
    expected = {
        "a": "1", "params.a": "1", "tags.a": "2", "c": "3", "b": "", "params.c": "",
        "experiment": "exp", "run_name": "name", "inputs": "imdb",
        "a+c": "1/3", "a+b": "1", "b+a": "",
    }  # fmt: skip

    assert {key: read_value(run, key) for key in expected} == expected
