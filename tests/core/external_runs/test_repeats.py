"""Facts of runs of one cell: which params set configurations apart, and which runs are kept."""

from __future__ import annotations

import pytest

from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.core.external_runs.repeats import choose_configuration, differing_params
from mlflow_recall.core.external_runs.rules import ImportRules, InterpretedRun, MetricSource


def run(number: int, score: float, **params: str) -> InterpretedRun:
    """A run of one cell with a validation score, started after those of lower numbers."""
    logged = LoggedRun(
        run_id=f"r{number}",
        name=f"run {number}",
        experiment="e",
        start_time=number,
        params=params,
        metrics={"v": score},
    )
    return InterpretedRun(
        run=logged,
        model="m",
        dataset="d",
        modality="text",
        source=MetricSource(validation="v"),
        raw_model="m",
        is_registered=True,
    )


def kept(runs: list[InterpretedRun], rules: ImportRules) -> list[str]:
    return [chosen.run.run_id for chosen in choose_configuration(runs, rules)[0]]


@pytest.mark.parametrize(
    "name",
    ["seed", "data_seed", "output_dir", "logging_dir", "run_name", "save_steps", "num_workers",
     "git_commit", "resume_from_checkpoint", "device", "local_rank", "start_time"],
)  # fmt: skip
def test_what_has_no_effect_on_a_fine_tuning_is_incidental(name: str) -> None:
    """Runs that differ in it alone are repeats."""
    runs = [run(1, 0.5, **{name: "1"}), run(2, 0.6, **{name: "2"})]

    assert differing_params([interpreted.run for interpreted in runs], ImportRules()) == []
    assert kept(runs, ImportRules()) == ["r1", "r2"]


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "num_train_epochs", "freeze"])
def test_what_has_an_effect_sets_configurations_apart(name: str) -> None:
    """Also where only some of the runs name it."""
    runs = [run(1, 0.5, **{name: "1"}), run(2, 0.6, **{name: "2"}), run(3, 0.4)]

    assert differing_params([interpreted.run for interpreted in runs], ImportRules()) == [name]
    assert kept(runs, ImportRules()) == ["r2"]


def test_params_that_name_the_model_and_the_dataset_are_no_configuration() -> None:
    """Nor are ignored ones; both parts of a joined key are names."""
    runs = [
        run(1, 0.5, arch="a", task="x", config="1", note="p", lr="1").run,
        run(2, 0.5, arch="b", task="y", config="2", note="q", lr="2").run,
    ]
    rules = ImportRules(
        model=("params.arch",), dataset=("params.task+params.config",), ignore=("note",)
    )

    assert differing_params(runs, ImportRules()) == ["arch", "config", "lr", "note", "task"]
    assert differing_params(runs, rules) == ["lr"]


def test_the_best_configuration_is_that_of_the_best_mean_over_its_repeats() -> None:
    """One lucky seed does not make a learning rate."""
    runs = [
        run(1, 0.9, lr="1", seed="1"),
        run(2, 0.1, lr="1", seed="2"),
        run(3, 0.6, lr="2", seed="1"),
        run(4, 0.7, lr="2", seed="2"),
    ]

    best, left_out = choose_configuration(runs, ImportRules())

    assert best == runs[2:]
    assert left_out == {"another configuration of its cell has a better validation score": runs[:2]}
    assert choose_configuration(runs, ImportRules(keep="all")) == (runs, {})


def test_the_last_configuration_is_the_one_that_was_started_last_with_all_its_repeats() -> None:
    runs = [run(1, 0.9, lr="1"), run(2, 0.5, lr="2", seed="1"), run(3, 0.4, lr="1", seed="2")]

    last, left_out = choose_configuration(runs, ImportRules(keep="last"))

    assert last == [runs[0], runs[2]]
    assert list(left_out) == ["a later configuration of its cell is kept"]


def test_of_equal_runs_the_first_is_kept_whatever_is_asked_for() -> None:
    """A copy is no measurement of its own."""
    runs = [run(1, 0.5, lr="1"), run(2, 0.5, lr="1")]

    assert choose_configuration(runs, ImportRules(keep="all")) == (
        runs[:1],
        {"a copy of an earlier run": runs[1:]},
    )
