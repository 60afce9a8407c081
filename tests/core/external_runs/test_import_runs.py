"""Facts of imported runs: which ones become history, and why others do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logged_runs import TIMM, hf, read

from mlflow_recall.core.external_runs.rules import KnownModel, MetricSource
from mlflow_recall.errors import ConfigError, HistoryError

# --- which runs count ----------------------------------------------------------------------------


def test_each_run_that_is_left_out_has_its_reason() -> None:
    runs = [
        hf(),
        hf(score=0.1, status="RUNNING"),
        hf(score=0.2, is_own=True),
        hf(score=0.3, adopted="other"),
        hf(model="", score=0.4),
        hf(dataset="", score=0.5),
        hf(score=float("nan")),
        hf(score=870.0),
        replace(hf(score=0.6), metrics={"loss": 0.1}),
    ]

    reasons = {reason: len(others) for reason, others in read(*runs).left_out.items()}

    assert reasons == {
        "RUNNING, not FINISHED": 1,
        "made by mlflow-recall itself": 1,
        "history of namespace 'other': `mlflow-recall adopt --release --namespace other` sets it "
        "free": 1,
        "no model: none of params._name_or_path": 1,
        "no dataset: none of params.finetuning_task": 1,
        "eval_accuracy is no finite number": 1,
        "eval_accuracy is no accuracy, neither in [0, 1] nor in percent": 1,
        "no score: none of eval_accuracy": 1,
    }


def test_without_usable_runs_the_reasons_are_named() -> None:
    with pytest.raises(HistoryError, match=r"none can be used: eval_accuracy is no finite.*run \("):
        read(hf(score=float("inf")))


def test_percent_is_divided_run_by_run_and_timm_names_it() -> None:
    """A timm run at 0.9 % is percent too, as the other runs with its key show."""
    low = replace(
        TIMM, run_id="low", params={**TIMM.params, "model": "r2"}, metrics={"eval_top1": 0.9}
    )
    selection = read(hf(), hf(dataset="cola", score=85.0), TIMM, low, modality="any")

    finals = {(c.model, c.dataset): c.final_score for c in selection.accepted}
    assert finals["org--a", "sst2"] == 0.8
    assert finals["org--a", "cola"] == pytest.approx(0.85)
    assert finals["resnet18", "pets"] == pytest.approx(0.815)
    assert finals["r2", "pets"] == pytest.approx(0.009)


def test_a_loss_is_never_read_as_percent() -> None:
    assert read(hf(metrics={"eval_loss": 2.5}), metric="log_loss").accepted[0].final_score == -2.5


def test_one_dataset_is_compared_by_one_split() -> None:
    """A test score of one model and a validation score of another would not compare."""
    tested = {"test_accuracy": 0.5}
    runs = [hf(metrics=tested), hf("org/b"), hf(dataset="cola", metrics=tested)]

    selection = read(*runs)

    finals = {(c.model, c.dataset): c.final_score for c in selection.accepted}
    assert finals == {("org--a", "sst2"): 0.8, ("org--b", "sst2"): 0.8, ("org--a", "cola"): 0.5}
    assert selection.untested == (runs[1],)


def test_a_test_key_that_was_named_is_needed() -> None:
    runs = [hf(metrics={"test_accuracy": 0.5}), hf("org/b")]

    selection = read(*runs, test=("test_accuracy",))

    assert [c.final_score for c in selection.accepted] == [0.5]
    assert selection.left_out == {"no test score: none of test_accuracy": (runs[1],)}


def test_a_run_that_was_tested_alone_needs_no_curve() -> None:
    run = replace(hf(), metrics={"test_accuracy": 0.5, "train_runtime": 1.0})

    assert read(run).accepted[0].source == MetricSource(test="test_accuracy")


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("org/a", "ns--org--a"),
        ("bert-base", "ns--bert-base"),
        ("/models/my-bert", "ns--my-bert"),
        ("./out/run3/checkpoint-500", "ns--run3--checkpoint-500"),
        ("there", "there"),
        ("org/known", "other-name"),
        ("resnet18", "pixels"),
    ],
)
def test_a_model_has_its_name_in_the_registry(raw: str, name: str) -> None:
    """Its name by name or source, or the one that it would be registered under."""
    known = (
        KnownModel("there"),
        KnownModel("other-name", "hf:/org/known@main"),
        KnownModel("pixels", "timm:/resnet18"),
    )

    selection = read(hf(raw), known=known, prefix="ns--")

    assert selection.models == (name,)
    assert bool(selection.unregistered) == name.startswith("ns--")


def test_two_folders_of_one_name_are_not_mixed() -> None:
    runs = [hf("/a/best"), hf("/b/best")]

    with pytest.raises(ConfigError, match=r"model 'best': expected one folder, got /a/best and /b"):
        read(*runs)
    assert read(*runs, models={"/a/best": "a-best"}).models == ("a-best", "best")


def test_a_modality_is_named_registered_or_inferred() -> None:
    run = replace(hf(), params={"_name_or_path": "m", "finetuning_task": "d"})

    with pytest.raises(ConfigError, match="modality: 1 runs do not tell it, of m: name it with"):
        read(run)
    assert read(run, known=(KnownModel("m", modality="image"),)).accepted[0].modality == "image"
    assert read(run, modality="sound").accepted[0].modality == "sound"


# --- several runs of a cell ----------------------------------------------------------------------

SWEEP = [
    hf(score=0.7, params={"learning_rate": "1e-5", "seed": 1}, start_time=1),
    hf(score=0.8, params={"learning_rate": "1e-5", "seed": 2}, start_time=2),
    hf(score=0.9, params={"learning_rate": "3e-5", "seed": 1}, start_time=3),
    hf(score=0.5, params={"learning_rate": "9e-5", "seed": 1, "output_dir": "x"}, start_time=4),
]


@pytest.mark.parametrize(
    ("keep", "scores"), [("best", [0.9]), ("last", [0.5]), ("all", [0.7, 0.8, 0.9, 0.5])]
)
def test_one_configuration_of_a_sweep_is_kept(keep: str, scores: list[float]) -> None:
    selection = read(*SWEEP, keep=keep)

    assert [c.final_score for c in selection.accepted] == scores
    assert sum(map(len, selection.left_out.values())) == len(SWEEP) - len(scores)


def test_runs_that_differ_in_seed_and_paths_alone_are_repeats() -> None:
    """All repeats of the best configuration are kept, judged by their mean."""
    repeats = [*SWEEP[:2], hf(score=0.74, params={"learning_rate": "9e-5"}, start_time=9)]

    assert [c.final_score for c in read(*repeats).accepted] == [0.7, 0.8]
    assert len(read(*SWEEP, ignore=("learning_rate",)).accepted) == 4


def test_a_copy_of_a_run_is_no_repeat() -> None:
    """It would make the noise floor look lower than it is."""
    first, copy = hf(start_time=1), hf(start_time=2, run_id="copy")

    selection = read(first, copy)

    assert [c.run for c in selection.accepted] == [first]
    assert selection.left_out == {"a copy of an earlier run": (copy,)}


def test_a_run_that_a_better_configuration_replaces_is_superseded() -> None:
    old = replace(SWEEP[0], adopted="ns")

    assert read(old, SWEEP[2]).superseded == (old,)


def test_coverage_counts_pairs_of_one_modality() -> None:
    """Two text models on two sets, one cell missing, and one image model on one set: 4 of 5."""
    selection = read(hf(), hf("org/b"), hf(dataset="cola"), TIMM)

    assert (selection.cells, selection.coverage) == (4, 0.8)
