"""A policy and a recommender of another distribution are used like the built-in ones.

The distribution is real but for pip: a module and its ``dist-info`` in a folder on ``PYTHONPATH``.
Every command runs in a process of its own, which finds the rows by their entry points alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prepared import EPOCHS, Zoo, text_zoo

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.stored_defaults import write_defaults
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.policies import POLICIES
from mlflow_recall.core.recommend import RECOMMENDERS

pytestmark = pytest.mark.slow

POLICY, RECOMMENDER = "keep_best", "by_favorite"
MODULE = '''
"""A policy that keeps the best few, and a recommender that reads the favorite of a dataset."""

from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.policies import PolicyOptions, PolicySpec, Verdict
from mlflow_recall.core.policies.spec import current_stage, rank_by_score
from mlflow_recall.core.recommend import Ranking, RecommenderSpec


@dataclass(frozen=True)
class KeepOptions(PolicyOptions):
    keep: int = 1


def keep_best(cohort, history, options):
    ranked = rank_by_score(cohort)
    kept = len(ranked) if current_stage(cohort) >= options.stages else options.keep
    return {
        model: Verdict(stop=place >= kept, reason=f"place {place + 1}", rival=ranked[0])
        for place, model in enumerate(ranked)
    }


def count_active(models, stages):
    return [models, *[min(models, 1)] * (stages - 1)]


def by_favorite(evidence):
    models = evidence.matrix.models
    favorite = int(evidence.target_features.get("favorite", 0))
    scores = -((np.arange(len(models)) - favorite) % len(models)).astype(float)
    return Ranking.from_scores(models, scores, {"favorite": scores})


KEEP_BEST = PolicySpec(
    decide=keep_best,
    summary="goes on with the best few",
    options=KeepOptions,
    active_counts=count_active,
)
BY_FAVORITE = RecommenderSpec(
    rank=by_favorite, summary="the favorite of the dataset first", uses_scores=False
)
'''
ENTRY_POINTS = """
[mlflow_recall.policies]
keep_best = outsider:KEEP_BEST

[mlflow_recall.recommenders]
by_favorite = outsider:BY_FAVORITE
"""
MODELS, DATASETS, STEPS = 14, 6, 4


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a process that has the distribution installed."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "outsider.py").write_text(MODULE)
    metadata = folder / "outsider-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: outsider\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    inherited = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return {**inherited, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables on which both outside rows are the best by construction.

    Each dataset has a favorite, after which the models of the next numbers follow: the mean over
    other datasets says nothing, and the feature ``favorite`` says all. In every stage the
    validation scores have the order of the final scores, so that one stage tells the winner, while
    halving trains half of the models further. Across datasets a higher validation score comes with
    a lower final score, so that recorded trends stop nobody.
    """
    folder = tmp_path_factory.mktemp("tables")
    cells, points, features = [], [], []
    for j in range(DATASETS):
        favorite = 5 * j % MODELS
        features.append((f"set-{j}", favorite))
        for i in range(MODELS):
            own, level = 0.1 * (1 - (i - favorite) % MODELS / MODELS), 0.1 * j
            final = 0.4 + own - level / 2
            cell = (f"m{i:02d}", f"set-{j}")
            cells.append((*cell, "accuracy", final))
            for step in range(1, STEPS + 1):
                points.append((*cell, step, "val", "accuracy", 0.3 + own + level + step / 100))
                points.append((*cell, step, "test", "accuracy", final))
    for name, columns, rows in (
        ("matrix", ["model", "dataset", "metric", "value"], cells),
        ("curves", ["model", "dataset", "step", "split", "metric", "value"], points),
        ("datasets", ["dataset", "favorite"], features),
    ):
        pd.DataFrame(rows, columns=columns).to_csv(folder / f"{name}.csv", index=False)
    return folder


def run(environment: Mapping[str, str], *argv: object) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "mlflow_recall", *map(str, argv)],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_json(environment: Mapping[str, str], *argv: object) -> Any:
    return json.loads(run(environment, *argv, "--json", "-"))


def test_the_rows_are_not_those_of_this_process() -> None:
    """Whatever the commands below find comes from the other distribution."""
    assert POLICY not in POLICIES
    assert RECOMMENDER not in RECOMMENDERS


def test_help_lists_installed_rows_with_their_summary_and_options(
    outside: Mapping[str, str],
) -> None:
    select, recommend = (
        " ".join(run(outside, command, "--help").split()) for command in ("select", "recommend")
    )

    assert f"{POLICY}: goes on with the best few" in select
    assert f"{POLICY}: keep" in select.partition("--policy-option")[2]
    assert f"{RECOMMENDER}: the favorite of the dataset first" in recommend


def test_an_installed_recommender_ranks_by_its_name(
    outside: Mapping[str, str], tables: Path
) -> None:
    """It reads the features of the tables as the built-in ones do."""
    data = run_json(
        outside, "recommend", "--history", tables, "--dataset", "set-1",
        "--recommender", RECOMMENDER, "--top-k", 2,
    )  # fmt: skip

    assert data["set"]["models"] == ["m05", "m06"]
    assert (data["recommender"], data["set_selector"]) == (RECOMMENDER, RECOMMENDER)


@pytest.fixture(scope="module")
def backtested(outside: Mapping[str, str], tables: Path) -> Any:
    """The back-test of the tables, as JSON."""
    return run_json(outside, "backtest", "--history", tables)


def test_a_backtest_replays_installed_rows(backtested: Any) -> None:
    """One model of each stage after the first: 10 + 3 epochs of ten candidates."""
    assert backtested["recommenders"][RECOMMENDER]["regret@1"] == pytest.approx(0.0)
    assert backtested["policies"][POLICY]["epochs"] == 10 + STEPS - 1
    assert backtested["policies"][POLICY]["epochs"] < backtested["policies"]["halving"]["epochs"]
    assert len(backtested["frontier"][POLICY]["points"]) > 1
    assert backtested["end_to_end"][f"recall + {POLICY}"]["epochs"] == 5 + STEPS - 1


def test_a_backtest_makes_the_better_installed_rows_the_defaults(backtested: Any) -> None:
    """By the same rule as for built-in ones: better by more than one paired standard error."""
    areas = {name: row["area_nested"] for name, row in backtested["frontier"].items()}
    defaults = backtested["verdict"]["defaults"]

    assert min(areas, key=lambda name: areas[name]) == POLICY
    assert (defaults["ranker"], defaults["set_selector"]) == (RECOMMENDER, RECOMMENDER)
    assert defaults["policy"] == POLICY


def test_a_plan_estimates_an_installed_policy(outside: Mapping[str, str], tables: Path) -> None:
    """Five recalled models: all of them in the first stage, the best alone in the others."""
    data = run_json(outside, "plan", "--history", tables, "--top-k", 5)

    (strategy,) = (s for s in data["strategies"] if s["name"] == f"recall + {POLICY}")
    assert strategy["policy"] == POLICY
    assert strategy["replayed"]
    assert strategy["epochs"] - strategy["probe_epochs"] == pytest.approx(5 + STEPS - 1)
    assert 0 <= strategy["expected_regret"] < np.inf


# --- a selection ---------------------------------------------------------------------------------


@pytest.fixture
def zoo(store: str) -> Zoo:
    return text_zoo(store)


def select(environment: Mapping[str, str], zoo: Zoo, *argv: object) -> tuple[Any, dict[str, str]]:
    """Return the JSON of a selection among all models, and the tags of its run."""
    data = run_json(
        environment, "select", "--dataset", zoo.target.path, "--tracking-uri", zoo.uri,
        "--namespace", zoo.namespace, "--models", zoo.everyone, "--top-k", 5, "--final", "same",
        "--register-as", "by-outsider", "--workers", 1, *argv,
    )  # fmt: skip
    return data, dict(zoo.client.get_run(data["run_id"]).data.tags)


def test_an_installed_policy_decides_with_options_of_its_own(
    outside: Mapping[str, str], zoo: Zoo
) -> None:
    """Two of five go on after the first stage, and both to the end."""
    data, run_tags = select(
        outside, zoo, "--policy", POLICY, "--policy-option", "keep=2", "--recommender", RECOMMENDER
    )

    stages = sorted(candidate["stage"] for candidate in data["candidates"])
    assert stages == [1, 1, 1, EPOCHS, EPOCHS]
    assert run_tags[tags.POLICY] == POLICY
    assert run_tags[tags.RECOMMENDER] == RECOMMENDER


def test_an_installed_policy_is_what_auto_stands_for_once_it_is_preferred(
    outside: Mapping[str, str], zoo: Zoo
) -> None:
    """The stored defaults name it, and its own default keeps one model."""
    preferred = Defaults(policy=POLICY, ranker=RECOMMENDER, set_selector=RECOMMENDER, run_id="r")
    write_defaults(zoo.client, zoo.namespace, "text", "primary", preferred)
    try:
        data, run_tags = select(outside, zoo)
    finally:
        write_defaults(zoo.client, zoo.namespace, "text", "primary", Defaults())

    stages = sorted(candidate["stage"] for candidate in data["candidates"])
    assert stages == [1, 1, 1, 1, EPOCHS]
    assert run_tags[tags.POLICY] == POLICY
    assert run_tags[tags.SET_SELECTOR] == RECOMMENDER
