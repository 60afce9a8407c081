"""A back-test: its tables, figures and sentences, and the defaults that it stores."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from prepared import EPOCHS, RecordingReporter, Zoo, services_for, text_zoo

from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tracking.stored_defaults import read_defaults, write_defaults
from mlflow_recall.cli import commands
from mlflow_recall.cli.backtest import backtest_json
from mlflow_recall.config import BacktestConfig
from mlflow_recall.core.backtest.transfer_test import permutation_test
from mlflow_recall.core.backtest.verdict import conclude
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.recommend import RECOMMENDERS
from mlflow_recall.errors import HistoryError
from mlflow_recall.workflows.backtest import (
    BacktestResult,
    backtest_history,
    backtest_tables,
    backtest_zoo,
)

MODELS, DATASETS, STEPS = 9, 8, 6


def tables(folder: Path, *, shuffled: bool = False, steps: int = STEPS) -> FolderHistory:
    """Strong and weak models on easy and hard datasets, with curves; shuffled: nobody is strong."""
    rng = np.random.default_rng(0)
    strength = np.linspace(-0.2, 0.2, MODELS)[:, None]
    if shuffled:
        strength = np.column_stack([rng.permutation(strength[:, 0]) for _ in range(DATASETS)])
    ends = 0.6 + strength + 0.02 * rng.normal(size=(MODELS, DATASETS))
    cells, points = [], []
    for i, j in np.ndindex(ends.shape):
        cells.append((f"m{i}", f"d{j}", "acc", ends[i, j]))
        for step in range(1, steps + 1):
            score = ends[i, j] * (0.5 + 0.5 * step / steps)
            points.append((f"m{i}", f"d{j}", step, "val", "acc", score + 0.01 * rng.normal()))
            points.append((f"m{i}", f"d{j}", step, "test", "acc", score))
    folder.mkdir(exist_ok=True)
    columns = ["model", "dataset", "metric", "value"]
    pd.DataFrame(cells, columns=columns).to_csv(folder / "matrix.csv", index=False)
    columns = ["model", "dataset", "step", "split", "metric", "value"]
    pd.DataFrame(points, columns=columns).to_csv(folder / "curves.csv", index=False)
    return FolderHistory(folder)


def backtested(folder: FolderHistory, **settings: Any) -> BacktestResult:
    (result,) = backtest_history(BacktestConfig(**settings), folder, RecordingReporter())
    return result


# --- plain tables --------------------------------------------------------------------------------


def test_every_recommender_and_policy_is_replayed(tmp_path: Path) -> None:
    result = backtested(tables(tmp_path), top_k=4)

    assert {*result.comparison.results, *result.comparison.left_out} == {"random", *RECOMMENDERS}
    assert "paper" in result.comparison.left_out  # without scores there is nothing to multiply
    assert result.policies is not None
    assert result.policies.stages == STEPS
    assert set(result.policies.table["brute_force of all"].epochs) == {MODELS * STEPS}
    assert set(result.policies.table["halving"].candidates) == {4}
    assert {"halving", "cost_aware", "optuna_hyperband"} <= set(result.policies.frontiers)


def test_a_history_of_strong_and_weak_models_applies(tmp_path: Path) -> None:
    result = backtested(tables(tmp_path))

    assert result.conclusion.applies
    assert not result.conclusion.misleading_datasets
    assert result.conclusion.sentences[0].startswith("The history applies: ")


def test_a_policy_that_goes_by_few_datasets_says_so(tmp_path: Path) -> None:
    result = backtested(tables(tmp_path))

    judged = permutation_test(result.matrix)
    standing = Defaults(policy="cost_aware")
    sentences = conclude(judged, result.comparison, result.policies, built_in=standing).sentences

    thin = f"With the curves of only {DATASETS - 1} datasets, cost_aware takes from them how many"
    assert any(sentence.startswith(thin) for sentence in sentences)
    assert not any("curves of only" in sentence for sentence in result.conclusion.sentences)


def test_a_shuffled_history_does_not_apply_and_more_are_trained(tmp_path: Path) -> None:
    straight = backtested(tables(tmp_path / "straight"))
    shuffled = backtested(tables(tmp_path / "shuffled", shuffled=True))

    assert not shuffled.conclusion.applies
    assert shuffled.conclusion.sentences[0].startswith("The history does not apply: ")
    assert shuffled.conclusion.defaults.policy != "cost_aware"
    usual = Defaults().top_k
    narrow, wide = (r.conclusion.defaults.top_k for r in (straight, shuffled))
    assert usual is not None
    assert narrow is not None
    assert wide is not None
    assert wide >= 2 * usual
    assert narrow < wide


def test_the_same_records_give_the_same_answer(tmp_path: Path) -> None:
    """The conclusion is stored as the defaults, so it must not depend on chance."""
    folder = tables(tmp_path)
    one, two = backtested(folder), backtested(folder)

    assert one.conclusion == two.conclusion
    assert one.conclusion.sentences
    assert one.comparison.results.keys() == two.comparison.results.keys()
    for name, judged in one.comparison.results.items():
        np.testing.assert_equal(judged.measures, two.comparison.results[name].measures)


def test_finer_curves_are_read_at_so_many_stages(tmp_path: Path) -> None:
    folder = tables(tmp_path, steps=14)
    finer, usual = backtested(folder, stages=4), backtested(folder)

    assert finer.policies is not None
    assert usual.policies is not None
    assert (finer.policies.stages, usual.policies.stages) == (4, 5)


def test_whole_selections_stand_beside_the_whole_zoo(tmp_path: Path) -> None:
    """Nine models, six stages: 54 epochs for all; five by halving 5 + 2 + 1 + 1 + 1 + 1."""
    result = backtested(tables(tmp_path))
    data = backtest_json(result)["end_to_end"]

    assert data["brute_force"]["epochs"] == 54
    assert data["brute_force"]["probe_epochs_paper"] == 0
    recall_result = data["recall + halving"]
    assert (recall_result["candidates"], recall_result["epochs"]) == (5, 11)
    assert recall_result["probe_epochs_paper"] == pytest.approx(recall_result["probes"] / 2)
    assert recall_result["probe_epochs_measured"] is None
    spent = result.whole_selections["recall + halving"].total_epochs()
    assert recall_result["speedup_brute_force"] == pytest.approx((54 / spent).mean())
    rows = {row["strategy"]: row for row in backtest_tables(result)["End to end"]}
    assert set(rows) == set(data)
    assert rows["recall + halving"]["probe epochs (measured)"] == "-"


def test_probes_cost_what_recalls_measured_where_there_were_any(tmp_path: Path) -> None:
    (result,) = backtest_history(
        BacktestConfig(), tables(tmp_path), RecordingReporter(), probe_epochs=0.2
    )

    data = backtest_json(result)["end_to_end"]["recall + halving"]

    assert data["probe_epochs_measured"] == pytest.approx(0.2 * data["probes"])


def test_without_curves_recommenders_alone_are_tested(tmp_path: Path) -> None:
    folder = tables(tmp_path)
    (tmp_path / "curves.csv").unlink()
    reporter = RecordingReporter()

    (result,) = backtest_history(BacktestConfig(), folder, reporter)

    assert result.policies is None
    assert not result.whole_selections["recall + halving"].from_curves
    assert "max epochs" in backtest_tables(result)["End to end"][0]
    assert "no curves are recorded: policies cannot be replayed" in reporter.warnings
    assert result.conclusion.defaults.policy == Defaults().policy


def test_a_dataset_can_be_left_out(tmp_path: Path) -> None:
    result = backtested(tables(tmp_path), drop_datasets=("d0", "d3"))

    assert len(result.matrix.datasets) == DATASETS - 2
    assert result.policies is not None
    assert "d3" not in result.policies.table["halving"].datasets


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drop_datasets": ("moon",)}, "drop-dataset: expected one of d0, .*, got 'moon'"),
        (
            {"drop_datasets": tuple(f"d{j}" for j in range(1, DATASETS))},
            "expected at least 2 datasets",
        ),
        ({"stages": 40}, "expected datasets with 4 models on at least 41 common steps"),
        ({"metric": "auc"}, "metric 'auc': expected one of acc"),
    ],
)
def test_too_small_a_history_is_an_error(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(HistoryError, match=message):
        backtested(tables(tmp_path), **settings)


# --- a zoo ---------------------------------------------------------------------------------------


@pytest.fixture
def text(store: str) -> Iterator[Zoo]:
    zoo = text_zoo(store)
    yield zoo
    write_defaults(zoo.client, zoo.namespace, "text", "primary", Defaults())


def test_a_run_shows_it_and_auto_stands_for_what_is_favored(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    (result,) = backtest_zoo(BacktestConfig(), services)

    assert result.run_id is not None
    run = text.client.get_run(result.run_id)
    kept = read_defaults(text.client, text.namespace, "text", "primary")
    artifacts = {entry.path for entry in text.client.list_artifacts(result.run_id)}
    assert kept.run_id == result.run_id
    assert (kept.ranker, kept.policy) == (
        result.conclusion.defaults.ranker,
        result.conclusion.defaults.policy,
    )
    assert {
        "recommenders.json",
        "policies.json",
        "end_to_end.json",
        "frontiers.json",
        "frontiers.png",
        "lifts.png",
    } <= artifacts
    whole = result.whole_selections["recall + fine_selection"]
    assert run.data.metrics["end_to_end/recall_fine_selection_epochs"] == pytest.approx(
        whole.total_epochs().mean()
    )
    assert run.data.metrics["backtest/prior/regret_at_1"] == pytest.approx(
        result.comparison.results["prior"].summary["regret@1"].mean
    )
    note = run.data.tags["mlflow.note.content"]
    assert all(sentence in note for sentence in result.conclusion.sentences)
    assert result.policies is not None
    assert result.policies.stages == EPOCHS


def test_the_command_prints_what_machines_rely_on(text: Zoo) -> None:
    """Standard output is one JSON object with the documented keys."""
    given = ["backtest", "--tracking-uri", text.uri, "--namespace", text.namespace, "--json", "-"]
    environment = {**os.environ, "COLUMNS": "200"}

    done = CliRunner().invoke(commands, given, env=environment, catch_exceptions=False)

    data = json.loads(done.stdout)
    regrets = {f"regret@{k}" for k in (1, 3, 5, 10)}
    assert {*regrets, "spearman", "pearson", "targets"} <= set(data["recommenders"]["blend"])
    assert set(data["policies"]["halving"]) >= {"epochs", "regret", "within_tolerance", "targets"}
    assert set(data["frontier"]["cost_aware"]) == {"points", "area", "area_nested", "se"}
    assert {"brute_force", "halving", "recall + cost_aware"} <= set(data["end_to_end"])
    assert data["verdict"]["defaults"]["run_id"] is None
    assert data["run_id"]
