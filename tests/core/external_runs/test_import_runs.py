"""What is made of runs that somebody else logged, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.external_runs.import_runs import RunSelection, select_runs
from mlflow_recall.core.external_runs.infer_rules import infer_rules
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
from mlflow_recall.core.external_runs.rules import (
    ImportRules,
    KnownModel,
    MetricSource,
    sources_from_json,
    sources_to_json,
)
from mlflow_recall.errors import ConfigError, HistoryError


def hf(
    model: str = "org/a",
    dataset: str = "sst2",
    score: float = 0.8,
    *,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, Any] | None = None,
    **fields: Any,
) -> LoggedRun:
    """A run as HF Trainer's MLflowCallback logs it: configuration and arguments as params."""
    own = {
        "_name_or_path": model,
        "finetuning_task": dataset,
        "vocab_size": "30522",
        "per_device_train_batch_size": "8",
        "num_train_epochs": "3",
        "learning_rate": "5e-05",
        "seed": "42",
        **(params or {}),
    }
    logged = {"eval_accuracy": score, "eval_loss": 1 - score, "epoch": 3.0, "train_runtime": 9.0}
    run_id = f"{model}-{dataset}-{score}-{sorted((params or {}).items())}"
    told = {"run_id": run_id, "name": "run", "experiment": "e", **fields}
    return LoggedRun(params=own, metrics={**logged, **(metrics or {})}, **told)


def read(
    *runs: LoggedRun, known: tuple[KnownModel, ...] = (), prefix: str = "", **wishes: Any
) -> RunSelection:
    return select_runs(runs, infer_rules(runs, ImportRules(**wishes)), "ns", known, prefix)


# --- names of metrics ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "found"),
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
def test_a_key_says_split_and_metric(key: str, found: tuple[str, str] | None) -> None:
    assert parse_metric_key(key) == found


@pytest.mark.parametrize(
    ("metric", "lower"),
    [("loss", True), ("log_loss", True), ("word_error", True), ("accuracy", False),
     ("acc", False), ("f1", False), ("quality", None), ("glossary", None)],
)  # fmt: skip
def test_words_of_a_name_say_the_direction(metric: str, lower: bool | None) -> None:
    assert is_minimized(metric) is lower


def test_a_canonical_name_is_its_own() -> None:
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "matthews", "log_loss"):
        assert canonical_metric(name) == name


# --- conventions ---------------------------------------------------------------------------------

LIGHTNING = LoggedRun(
    "l", "l", "e",
    params={"model_name": "org/a", "dataset": "sst2", "max_epochs": "9"},
    metrics={"val_acc": 0.7, "epoch": 4.0},
)  # fmt: skip
TIMM = LoggedRun(
    "t", "t", "e",
    params={"model": "resnet18", "dataset": "", "data_dir": "/data/pets", "epochs": "3"},
    metrics={"eval_top1": 81.5, "eval_top5": 97.0, "eval_loss": 0.7, "epoch": 2.0},
)  # fmt: skip


def test_each_convention_is_told_from_the_others() -> None:
    assert [detect_convention(run) for run in (hf(), LIGHTNING, TIMM, LoggedRun("o", "o", "e"))] == [
        "HF Trainer", "Lightning", "timm", "other",
    ]  # fmt: skip


def test_epochs_are_a_fraction_behind_or_the_index_of_the_running_one() -> None:
    """Early stopping makes the params' number wrong; it counts only where none is logged."""
    assert trained_epochs(hf(metrics={"epoch": 2.0})) == 2
    assert trained_epochs(hf(metrics={"epoch": 2.5})) == 3
    assert trained_epochs(LIGHTNING) == 5
    assert trained_epochs(TIMM) == 3
    assert trained_epochs(LoggedRun("o", "o", "e", params={"epochs": "7"})) == 7
    assert trained_epochs(LoggedRun("o", "o", "e", params={"epochs": "many"})) == 0


def test_a_trainer_that_never_said_its_runtime_was_interrupted() -> None:
    """MLflow closes such a run as FINISHED; one that stopped early on purpose says its runtime."""
    stopped = hf(metrics={"epoch": 1.0})
    killed = replace(stopped, metrics={"epoch": 1.0, "eval_accuracy": 0.5})

    assert not is_interrupted(stopped)
    assert is_interrupted(killed)
    assert read(killed, hf()).left_out["interrupted before its last epoch"] == (killed,)


def test_params_that_only_one_modality_has_tell_it() -> None:
    image = replace(hf(), params={"image_size": "224", "per_device_train_batch_size": "8"})

    assert [infer_modality(run) for run in (hf(), image, TIMM, LIGHTNING)] == [
        "text", "image", "image", "",
    ]  # fmt: skip


def test_a_value_is_looked_up_where_the_key_says() -> None:
    run = LoggedRun(
        "r", "name", "exp", params={"a": "1", "b": "None"}, tags={"a": "2", "c": "3"},
        inputs=("dataset", "imdb"),
    )  # fmt: skip
    wanted = {
        "a": "1", "params.a": "1", "tags.a": "2", "c": "3", "b": "", "params.c": "",
        "experiment": "exp", "run_name": "name", "inputs": "imdb",
        "a+c": "1/3", "a+b": "1", "b+a": "",
    }  # fmt: skip

    assert {key: read_value(run, key) for key in wanted} == wanted


# --- guessing ------------------------------------------------------------------------------------


def test_runs_of_three_conventions_are_one_history() -> None:
    found = read(hf(), LIGHTNING, TIMM, modality="any")

    assert {c.cell for c in found.accepted} == {("org--a", "sst2"), ("resnet18", "pets")}
    assert found.rules.metric == "accuracy"
    assert set(found.rules.validation) == {"eval_accuracy", "val_acc", "eval_top1"}
    assert set(found.rules.model) == {
        "params._name_or_path", "params.model_name", "params.model",
    }  # fmt: skip


def test_a_key_that_says_one_thing_yields_to_one_that_varies() -> None:
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


def test_experiments_name_the_dataset_where_nothing_else_does() -> None:
    runs = [hf(dataset="", experiment=name) for name in ("pets", "cars")]

    assert read(*runs).datasets == ("cars", "pets")
    with pytest.raises(HistoryError, match=r"name it with --dataset params.KEY, tags.KEY, inputs"):
        read(runs[0])


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

    assert read(run).rules.metric == "accuracy"
    assert read(run, metric="f1").rules.validation == ("eval_f1",)
    only = replace(run, metrics={"eval_loss": 0.5, "eval_runtime": 3.0, "train_runtime": 9.0})
    assert (read(only).rules.metric, read(only).rules.minimize) == ("loss", True)
    assert read(only, metric="log_loss").accepted[0].final_score == -0.5


def test_a_metric_that_no_run_has_lists_those_that_are_there() -> None:
    with pytest.raises(HistoryError, match=r"metric 'bleu': expected .*eval_bleu.*eval_accuracy"):
        read(hf(), metric="bleu")
    with pytest.raises(HistoryError, match=r"expected one of eval_x in 1 finished runs"):
        read(hf(), validation=("eval_x",))


def test_nothing_finished_counts_what_there_is() -> None:
    with pytest.raises(HistoryError, match=r"expected finished runs of others, got 2 FAILED"):
        read(hf(status="FAILED"), hf(score=0.1, status="FAILED"))


# --- direction -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wishes",
    [
        {"validation": ("eval_loss",), "metric": "accuracy"},
        {"validation": ("eval_accuracy",), "test": ("eval_loss",)},
        {"validation": ("eval_accuracy",), "minimize": True},
        {"validation": ("eval_loss",), "test": ("eval_accuracy",), "metric": "q", "minimize": True},
    ],
)
def test_mixed_directions_are_refused(wishes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"mixed directions: .*-is-better"):
        read(hf(), **wishes)


def test_what_the_trainer_was_told_decides_an_unknown_direction() -> None:
    told = {"metric_for_best_model": "drift", "greater_is_better": "False"}
    down = hf(metrics={"eval_drift": 0.4}, params=told)
    up = hf(score=0.1, metrics={"eval_drift": 0.4}, params={**told, "greater_is_better": "True"})

    assert read(down, metric="drift").accepted[0].final_score == -0.4
    assert read(up, metric="drift").accepted[0].final_score == 0.4
    with pytest.raises(ConfigError, match="mixed directions: greater_is_better of drift is True"):
        read(down, up, metric="drift")
    assert read(down, up, metric="drift", minimize=True).rules.minimize is True


# --- what is taken -------------------------------------------------------------------------------


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

    reasons = {reason: len(some) for reason, some in read(*runs).left_out.items()}

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


def test_no_usable_run_says_why_each_is_not() -> None:
    with pytest.raises(HistoryError, match=r"none can be used: eval_accuracy is no finite.*run \("):
        read(hf(score=float("inf")))


def test_percent_is_divided_run_by_run_and_timm_names_it() -> None:
    """A timm run at 0.9 % is percent too, as the other runs with its key show."""
    low = replace(
        TIMM, run_id="low", params={**TIMM.params, "model": "r2"}, metrics={"eval_top1": 0.9}
    )
    found = read(hf(), hf(dataset="cola", score=85.0), TIMM, low, modality="any")

    finals = {(c.model, c.dataset): c.final_score for c in found.accepted}
    assert finals["org--a", "sst2"] == 0.8
    assert finals["org--a", "cola"] == pytest.approx(0.85)
    assert finals["resnet18", "pets"] == pytest.approx(0.815)
    assert finals["r2", "pets"] == pytest.approx(0.009)


def test_a_loss_is_never_taken_for_percent() -> None:
    assert read(hf(metrics={"eval_loss": 2.5}), metric="log_loss").accepted[0].final_score == -2.5


def test_one_dataset_is_compared_by_one_split() -> None:
    """A test score of one model and a validation score of another would not compare."""
    tested = {"test_accuracy": 0.5}
    runs = [hf(metrics=tested), hf("org/b"), hf(dataset="cola", metrics=tested)]

    found = read(*runs)

    finals = {(c.model, c.dataset): c.final_score for c in found.accepted}
    assert finals == {("org--a", "sst2"): 0.8, ("org--b", "sst2"): 0.8, ("org--a", "cola"): 0.5}
    assert found.untested == (runs[1],)


def test_a_test_key_that_was_named_is_needed() -> None:
    runs = [hf(metrics={"test_accuracy": 0.5}), hf("org/b")]

    found = read(*runs, test=("test_accuracy",))

    assert [c.final_score for c in found.accepted] == [0.5]
    assert found.left_out == {"no test score: none of test_accuracy": (runs[1],)}


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
def test_a_model_goes_by_its_name_in_the_registry(raw: str, name: str) -> None:
    """The one it has there, by name or source, or the one it would be registered under."""
    known = (
        KnownModel("there"), KnownModel("other-name", "hf:/org/known@main"), KnownModel("pixels", "timm:/resnet18")
    )  # fmt: skip

    found = read(hf(raw), known=known, prefix="ns--")

    assert found.models == (name,)
    assert bool(found.unregistered) == name.startswith("ns--")


def test_two_folders_of_one_name_are_not_mixed() -> None:
    runs = [hf("/a/best"), hf("/b/best")]

    with pytest.raises(ConfigError, match=r"model 'best': expected one folder, got /a/best and /b"):
        read(*runs)
    assert read(*runs, models={"/a/best": "a-best"}).models == ("a-best", "best")


def test_a_modality_is_named_registered_or_guessed() -> None:
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
    found = read(*SWEEP, keep=keep)

    assert [c.final_score for c in found.accepted] == scores
    assert sum(map(len, found.left_out.values())) == len(SWEEP) - len(scores)


def test_runs_that_differ_in_seed_and_paths_alone_are_repeats() -> None:
    """All repeats of the best configuration are kept, judged by their mean."""
    repeats = [*SWEEP[:2], hf(score=0.74, params={"learning_rate": "9e-5"}, start_time=9)]

    assert [c.final_score for c in read(*repeats).accepted] == [0.7, 0.8]
    assert len(read(*SWEEP, ignore=("learning_rate",)).accepted) == 4


def test_a_copy_of_a_run_is_no_repeat() -> None:
    """It would make the noise floor look lower than it is."""
    first, copy = hf(start_time=1), hf(start_time=2, run_id="copy")

    found = read(first, copy)

    assert [c.run for c in found.accepted] == [first]
    assert found.left_out == {"a copy of an earlier run": (copy,)}


def test_a_run_whose_place_was_taken_is_named() -> None:
    old = replace(SWEEP[0], adopted="ns")

    assert read(old, SWEEP[2]).superseded == (old,)


def test_an_unknown_way_to_keep_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="keep 'first': expected one of all, best, last"):
        ImportRules(keep="first")


def test_coverage_counts_pairs_of_one_modality() -> None:
    """Two texts models on two sets, one cell missing, and one image model on one set: 4 of 5."""
    found = read(hf(), hf("org/b"), hf(dataset="cola"), TIMM)

    assert (found.cells, found.coverage) == (4, 0.8)


# --- curves --------------------------------------------------------------------------------------


def test_of_each_epoch_the_last_point_is_a_stage() -> None:
    """Evaluated at the start and twice an epoch, over two epochs of 50 steps."""
    points = [(0, 0.1), (25, 0.2), (50, 0.3), (75, 0.4), (100, 0.5)]

    assert MetricSource("v", epochs=2).stages(points, 1.0) == [0.3, 0.5]
    assert MetricSource("v").stages(points, 100.0) == [10.0, 20.0, 30.0, 40.0, 50.0]


@given(st.integers(0, 12), st.lists(st.integers(0, 1000), min_size=1, unique=True))
def test_a_thinned_curve_keeps_its_end_and_never_has_more_stages_than_epochs(
    epochs: int, steps: list[int]
) -> None:
    points = [(step, float(step)) for step in sorted(steps)]

    stages = MetricSource("v", epochs=epochs).stages(points, 1.0)

    assert stages[-1] == points[-1][1]
    assert stages == sorted(stages)
    assert len(stages) <= (epochs if epochs > 1 else len(points)) or len(points) <= epochs


def test_sources_survive_their_tag() -> None:
    sources = {
        "accuracy": MetricSource("eval_top1", "test_acc", 0.01, epochs=3),
        "drift": MetricSource("eval_drift", minimize=True),
    }

    assert sources_from_json(sources_to_json(sources)) == sources


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"strange": 1}}'])
def test_a_tag_that_says_nothing_has_no_sources(text: str) -> None:
    assert sources_from_json(text) == {}
