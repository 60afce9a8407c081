"""Facts of imported runs: which ones become history, and why others do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logged_runs import TIMM, hf, read

from mlflow_recall.core.external_runs.import_runs import RunSelection
from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.core.external_runs.rules import KnownModel, MetricSource
from mlflow_recall.errors import ConfigError, HistoryError, RecallError

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
        "eval_accuracy is no accuracy in the unit fraction": 1,
        "no score: none of eval_accuracy": 1,
    }


def test_without_usable_runs_the_reasons_are_named() -> None:
    with pytest.raises(HistoryError, match=r"none can be used: eval_accuracy is no finite.*run \("):
        read(hf(score=float("inf")))


def test_the_unit_is_one_for_a_metric_of_an_experiment() -> None:
    """0.9 % stays 0.009 beside runs above 1, and 0.8 stays 0.8 in another experiment."""
    bad = hf("org/b", score=0.9)
    runs = [hf(score=85.0), hf("org/c", score=70.0), bad, hf("org/d", experiment="fractions")]

    finals = {c.model: c.final_score for c in read(*runs).accepted}

    assert finals == {
        "org--a": pytest.approx(0.85),
        "org--c": pytest.approx(0.7),
        "org--b": pytest.approx(0.009),
        "org--d": 0.8,
    }
    assert (
        read(hf(score=1.0), hf("org/b", score=0.9), unit="percent").accepted[0].final_score == 0.01
    )


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

    with pytest.raises(HistoryError, match="unknown modality: name it with --modality text or"):
        read(run)
    assert read(run, known=(KnownModel("m", modality="image"),)).accepted[0].modality == "image"
    assert read(run, modality="sound").accepted[0].modality == "sound"


def test_runs_of_unknown_modality_are_left_out_and_the_others_stay() -> None:
    """One unregistered model must not keep a whole history out."""
    unknown = replace(hf("m"), params={"_name_or_path": "m", "finetuning_task": "sst2"})

    selection = read(hf(), unknown)

    assert selection.models == ("org--a",)
    assert selection.left_out == {
        "unknown modality: name it with --modality text or --modality image": (unknown,)
    }


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


# --- several experiments -------------------------------------------------------------------------

#: params that name the model, and the dataset, in the code of some team
_MODEL_KEYS = ("model_name", "backbone", "arch")
_DATASET_KEYS = ("dataset", "data_dir", "task_name")


@st.composite
def experiments(draw: st.DrawFn, name: str) -> list[LoggedRun]:
    """Runs of one experiment, by mixed conventions, with and without scores, dataset and tests."""
    runs = []
    for i in range(draw(st.integers(1, 5))):
        params = {
            draw(st.sampled_from(_MODEL_KEYS)): draw(st.sampled_from("ab")),
            draw(st.sampled_from(_DATASET_KEYS)): draw(st.sampled_from(["", "x", "y"])),
            "lr": draw(st.sampled_from("12")),
            "vocab_size": "9",
        }
        scores = st.sampled_from([0.0, 0.5, 0.9, 42.0, 97.5])
        keys = st.sampled_from(["val_acc", "test_acc", "eval_accuracy", "eval_top1", "val_f1"])
        metrics = draw(st.dictionaries(keys, scores, max_size=3))
        status = draw(st.sampled_from(["FINISHED", "FINISHED", "FAILED"]))
        runs.append(
            LoggedRun(
                run_id=f"{name}{i}", name="run", experiment=name, status=status,
                params=params, metrics=metrics,
            )
        )  # fmt: skip
    return runs


def _read_alone(runs: list[LoggedRun]) -> RunSelection | None:
    try:
        return read(*runs)
    except RecallError:
        return None


@settings(max_examples=60)
@given(experiments("A"), experiments("B"))
def test_a_second_experiment_changes_nothing(a: list[LoggedRun], b: list[LoggedRun]) -> None:
    """Adopting A, then B, is adopting both at once, run by run."""
    alone = [selection for runs in (a, b) if (selection := _read_alone(runs))]

    together = _read_alone([*a, *b])

    assert [run for one in alone for run in one.accepted] == list(
        together.accepted if together else ()
    )
    if together:
        assert together.rules == {k: v for one in alone for k, v in one.rules.items()}


def test_two_datasets_stay_two_whatever_is_named_beside_them() -> None:
    """Each of two keys has one value in its runs, so that neither seems to tell the dataset."""
    timm = [
        replace(TIMM, run_id=f"{key}-{i}", experiment="timm",
                params={"model": f"m{i}", key: value})
        for key, value in (("dataset", "torch/cifar10"), ("data_dir", "/data/pets"))
        for i in range(3)
    ]  # fmt: skip

    assert read(*timm).datasets == ("pets", "torch/cifar10")
    assert read(*timm, hf(experiment="hf")).datasets == ("pets", "sst2", "torch/cifar10")
