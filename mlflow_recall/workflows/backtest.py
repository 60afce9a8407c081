"""History -> how far recommenders and policies can be trusted on it, and what `auto` stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mlflow_recall.adapters import figures, tags
from mlflow_recall.adapters.defaults import write_defaults
from mlflow_recall.adapters.ledger import Ledger, OpenRun, settings_of
from mlflow_recall.adapters.optuna_baselines import BASELINES, replay_prefixes
from mlflow_recall.config import BacktestConfig
from mlflow_recall.core.backtest.applies import applies
from mlflow_recall.core.backtest.calibration import Calibration, calibration
from mlflow_recall.core.backtest.cases import LEAST, Case, cases
from mlflow_recall.core.backtest.frontier import paired
from mlflow_recall.core.backtest.policies import (
    COMPARED,
    PolicyTest,
    policy_settings,
    policy_test,
)
from mlflow_recall.core.backtest.recommenders import Contest, contest
from mlflow_recall.core.backtest.target import held_out_targets
from mlflow_recall.core.backtest.verdict import Conclusion, conclude
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.history import Usable, usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.overview import noise_floor
from mlflow_recall.core.recommend import RECOMMENDERS
from mlflow_recall.core.stages import MANY, USUAL, staged
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import History, Tables, Voice
from mlflow_recall.workflows.bench import Bench


@dataclass(frozen=True, eq=False)
class Backtested:
    """The back-test of one modality and metric."""

    modality: str
    metric: str
    matrix: PerformanceMatrix
    contest: Contest
    #: of the built-in ranker
    calibration: Calibration
    #: None where no curves are recorded
    policies: PolicyTest | None
    conclusion: Conclusion
    tolerance: float
    #: empty where no server keeps it
    run_id: str = ""


def backtest_history(
    config: BacktestConfig, history: History, voice: Voice, metric: str = ""
) -> list[Backtested]:
    """Back-test what a history holds, one modality after the other, and write nothing.

    Raises:
        HistoryError: too little was recorded, or nothing of the metric or modality.
    """
    metric = metric or config.metric
    records = history.records(metric)
    modalities = sorted({record.modality for record in records if record.complete})
    chosen = [config.modality] if config.modality else modalities
    return [
        _backtest(config, history, usable(records, modality), modality, metric, voice)
        for modality in chosen
    ]


def backtest_zoo(config: BacktestConfig, bench: Bench) -> list[Backtested]:
    """Back-test a zoo's history, log a run for each modality, and keep what it favours."""
    metric = config.metric or "accuracy"
    done: list[Backtested] = []
    ledger = Ledger(bench.client, f"{bench.namespace}/backtest")
    try:
        for found in backtest_history(config, bench.history, bench.voice, metric):
            name = f"backtest {found.modality}".strip()
            with ledger.running(name, "backtest", "" if done else bench.run_id) as run:
                defaults = replace(found.conclusion.defaults, run_id=run.run_id)
                run.params(settings_of(config.__dict__), "resolved.")
                _log(found, run)
                write_defaults(bench.client, bench.namespace, found.modality, metric, defaults)
            done.append(replace(found, run_id=run.run_id))
    finally:
        ledger.close()
    return done


def _backtest(
    config: BacktestConfig,
    history: History,
    kept: Usable,
    modality: str,
    metric: str,
    voice: Voice,
) -> Backtested:
    matrix = _without(config.drop, PerformanceMatrix.of(kept.records))
    # a dataset that hardly anyone was measured on judges nobody; small zoos have but few models
    least = min(LEAST, max(2, len(matrix.models) // 2))
    given = _cases(matrix, history, least)
    if len(given) < 2:
        raise HistoryError(
            f"backtest: expected at least 2 datasets with {least} measured models each, got "
            f"{len(given)} of {len(matrix.datasets)}: one is held out and judged by the others"
        )
    judged = _judge(given, voice)
    checked = calibration(given, Defaults().ranker, tolerance=config.wish.tolerance)
    tested = _policies(config, history, kept, metric, voice)
    enough = checked.summary["size"].mean
    return Backtested(
        modality,
        metric,
        matrix,
        judged,
        checked,
        tested,
        conclude(applies(matrix, least=least), judged, tested, enough=enough),
        config.wish.tolerance,
    )


def _without(drop: Sequence[str], matrix: PerformanceMatrix) -> PerformanceMatrix:
    for name in drop:
        if name not in matrix.datasets:
            raise HistoryError(
                f"drop-dataset: expected one of {', '.join(matrix.datasets)}, got {name!r}"
            )
        matrix = matrix.without(name)
    return matrix


def _cases(matrix: PerformanceMatrix, history: History, least: int) -> list[Case]:
    """Every dataset as a target, with the scores and features that tables have beside it."""
    if not isinstance(history, Tables):
        return cases(matrix, least=least)
    scores = {
        name: np.array(
            [[cells.get((m, d), np.nan) for d in matrix.datasets] for m in matrix.models]
        )
        for name, cells in history.scores().items()
    }
    return cases(matrix, scores, history.model_features(), history.dataset_features(), least=least)


def _judge(given: Sequence[Case], voice: Voice) -> Contest:
    """All recommenders, one after the other, with a bar."""
    with voice.progress("replay recommenders", len(RECOMMENDERS)) as bar:
        return contest(given, RECOMMENDERS, done=lambda name: bar.advance(now=name))


def _policies(
    config: BacktestConfig, history: History, kept: Usable, metric: str, voice: Voice
) -> PolicyTest | None:
    """All policies on the recorded curves; None where there are none."""
    curves = _curves(config, history, kept, metric)
    for name in config.drop:
        curves = curves.without(name)
    if not curves.stages:
        voice.say("note: no curves are recorded: policies cannot be replayed")
        return None
    targets = list(held_out_targets(curves, noise=noise_floor(kept.records).known))
    steps = len(BASELINES) + sum(len(policy_settings(name)) for name in COMPARED)
    with voice.progress("replay policies", steps) as bar:
        return policy_test(
            targets,
            top_k=config.top_k,
            price=config.price,
            baselines={name: partial(replay_prefixes, name) for name in BASELINES},
            done=lambda name: bar.advance(now=name),
        )


def _curves(config: BacktestConfig, history: History, kept: Usable, metric: str) -> Curves:
    """Of the records as they are, or of the steps that tables hold, at so many stages."""
    curves = Curves.of(kept.records)
    as_they_are = 0 < curves.stages <= MANY and not config.stages
    if as_they_are or not isinstance(history, Tables):
        return curves
    recorded = history.curves(metric if curves.stages else "")
    if not recorded:
        return curves
    least = config.min_models or max(2, len({curve.model for curve in recorded}) // 2)
    found = staged(recorded, config.stages, least)
    return found if config.stages or found.stages <= MANY else staged(recorded, USUAL, least)


def recommender_rows(found: Backtested) -> list[dict[str, object]]:
    """One row a recommender, for tables."""
    rows: list[dict[str, object]] = []
    for name, judged in found.contest.judged.items():
        of = {measure: each.mean for measure, each in judged.summary.items()}
        rows.append(
            {
                "recommender": name,
                **{f"regret@{k}": _shown(of[f"regret@{k}"]) for k in (1, 3, 5, 10)},
                **{name: _shown(of[name], 2) for name in ("spearman", "pearson", "kendall")},
                "targets": len(judged.datasets),
            }
        )
    return rows


def policy_rows(found: Backtested) -> list[dict[str, object]]:
    """One row a way to select, for tables; none without curves."""
    if found.policies is None:
        return []
    table = found.policies.table
    brute, halving = (table[f"{name} of all"].epochs for name in ("brute_force", "halving"))
    return [
        {
            "policy": name,
            "candidates": _shown(float(each.candidates.mean()), 1),
            "epochs": _shown(float(each.epochs.mean()), 1),
            "x brute force": _shown(float((brute / each.epochs).mean()), 1),
            "x halving": _shown(float((halving / each.epochs).mean()), 1),
            "regret": _shown(float(each.regrets.mean())),
            f"within {found.tolerance:g}": _shown(each.within(found.tolerance), 2),
        }
        for name, each in table.items()
    ]


def frontier_rows(found: Backtested) -> list[dict[str, object]]:
    """One row a policy's frontier, for tables; none without curves."""
    if found.policies is None:
        return []
    halving = found.policies.frontiers["halving"]
    rows: list[dict[str, object]] = []
    for name, each in found.policies.frontiers.items():
        difference, error = paired(each.nested, halving.nested)
        rows.append(
            {
                "policy": name,
                "area": _shown(each.area),
                "nested": _shown(each.area_nested),
                "less halving's, nested": _shown(difference),
                "±": _shown(error),
            }
        )
    return rows


def calibration_rows(found: Backtested) -> list[dict[str, object]]:
    """What was said of gaps and what they were, for tables."""
    of = found.calibration.summary
    return [
        {
            "recommender": found.calibration.name,
            "promised": found.calibration.promised,
            "covered": _shown(of["covered"].mean, 2),
            "±": _shown(of["covered"].error, 2),
            "mean width": _shown(of["width"].mean),
            "said P(near)": _shown(of["said"].mean, 2),
            "was": _shown(of["was"].mean, 2),
            "set of": _shown(of["size"].mean, 1),
            "held one": _shown(of["held_smallest"].mean, 2),
        }
    ]


def _shown(value: float, places: int = 4) -> str:
    """So many decimals: differences of a thousandth count here."""
    return "-" if np.isnan(value) else f"{value:.{places}f}"


def _log(found: Backtested, run: OpenRun) -> None:
    """Tables, pictures and the verdict of one back-test into a run."""
    sections = {
        "Recommenders": recommender_rows(found),
        "Policies": policy_rows(found),
        "Frontiers": frontier_rows(found),
        "Calibration": calibration_rows(found),
    }
    for title, rows in sections.items():
        run.table(rows, f"{title.lower()}.json")
    if found.policies is not None:
        fronts = {name: each.points for name, each in found.policies.frontiers.items()}
        run.picture(figures.frontiers(fronts), "frontiers.png")
    measures = {
        f"backtest/{name}/{measure.replace('@', '_at_')}": each.mean
        for name, judged in found.contest.judged.items()
        for measure, each in judged.summary.items()
    }
    run.log({name: value for name, value in measures.items() if np.isfinite(value)})
    run.tag(
        {tags.MODALITY: found.modality, "recall.applies": str(found.conclusion.applies).lower()}
    )
    told = "\n".join(f"- {sentence}" for sentence in found.conclusion.sentences)
    tables = "\n\n".join(
        f"### {title}\n\n{figures.markdown_table(rows)}" for title, rows in sections.items() if rows
    )
    run.describe(f"**`auto`: {found.conclusion.outcome}.**\n\n{told}\n\n{tables}\n")
