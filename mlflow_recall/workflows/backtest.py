"""History -> how far recommenders and policies can be trusted on it, and what `auto` stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.optuna.baselines import BASELINES, replay_prefixes
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter, non_default
from mlflow_recall.adapters.tracking.stored_defaults import write_defaults
from mlflow_recall.config import BacktestConfig
from mlflow_recall.core.backtest.calibration import check_calibration
from mlflow_recall.core.backtest.held_out_target import Target, held_out_targets
from mlflow_recall.core.backtest.holdout import MIN_MODELS, Case, hold_out_each
from mlflow_recall.core.backtest.policy_frontiers import (
    COMPARED,
    PolicyResults,
    policy_settings,
    replay_policies,
)
from mlflow_recall.core.backtest.recommender_comparison import (
    RANDOM,
    SIZES,
    RecommenderComparison,
    compare_recommenders,
)
from mlflow_recall.core.backtest.strategies import ReplayResult
from mlflow_recall.core.backtest.transfer_test import permutation_test
from mlflow_recall.core.backtest.verdict import conclude
from mlflow_recall.core.backtest.whole_selections import replay_selections
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.history.comparable import ComparableRecords, select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.metrics import default_metric
from mlflow_recall.core.history.recipes import most_common_epochs
from mlflow_recall.core.history.records import Member
from mlflow_recall.core.history.resample import DEFAULT_STAGES, MAX_STAGES, resample_curves
from mlflow_recall.core.recommend import RECOMMENDERS
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import History, Reporter, Tables
from mlflow_recall.workflows.backtested import BacktestResult, backtest_tables
from mlflow_recall.workflows.probes import measured_probe_epochs
from mlflow_recall.workflows.services import Services


def backtest_history(
    config: BacktestConfig,
    history: History,
    reporter: Reporter,
    metric: str = "",
    probe: float | None = None,
    members: Sequence[Member] = (),
) -> list[BacktestResult]:
    """Back-test what a history holds, one modality after the other, and write nothing.

    Args:
        config: what is asked.
        history: a zoo's or tables.
        voice: says what is left out.
        metric: in place of the configured one; without either, the usual one of the history.
        probe: epochs that a look by one model was worth in recorded recalls; None: unknown.
        members: the zoo as it stands; records of other versions of a model are left out.

    Raises:
        HistoryError: too little was recorded, or nothing of the metric or modality.
    """
    metric = metric or config.metric or default_metric(history.metrics())
    records = history.records(metric)
    modalities = sorted({record.modality for record in records if record.is_complete})
    chosen = [config.modality] if config.modality else modalities
    return [
        _backtest(
            config,
            history,
            select_comparable(records, modality, members=members),
            modality,
            metric,
            reporter,
            probe,
        )
        for modality in chosen
    ]


def backtest_zoo(config: BacktestConfig, services: Services) -> list[BacktestResult]:
    """Back-test a zoo's history, log a run for each modality, and keep what it favors."""
    metric = config.metric or "accuracy"
    done: list[BacktestResult] = []
    writer = RunWriter(services.client, f"{services.namespace}/backtest")
    probe, members = measured_probe_epochs(services), services.registry.members()
    try:
        for found in backtest_history(
            config, services.history, services.reporter, metric, probe, members
        ):
            name = f"backtest {found.modality}".strip()
            with writer.managed_run(name, "backtest", "" if done else services.run_id) as run:
                defaults = replace(found.conclusion.defaults, run_id=run.run_id)
                run.log_params(non_default(config.__dict__), "resolved.")
                _log(found, run)
                write_defaults(
                    services.client, services.namespace, found.modality, metric, defaults
                )
            done.append(replace(found, run_id=run.run_id))
    finally:
        writer.close()
    return done


def _backtest(
    config: BacktestConfig,
    history: History,
    kept: ComparableRecords,
    modality: str,
    metric: str,
    reporter: Reporter,
    probe: float | None,
) -> BacktestResult:
    for note in kept.notes:
        reporter.warning(f"{note}")
    matrix = _without(config.drop_datasets, PerformanceMatrix.from_records(kept.records))
    # a dataset that hardly anyone was measured on judges nobody; small zoos have but few models
    min_models = min(MIN_MODELS, max(2, len(matrix.models) // 2))
    given = _cases(matrix, history, min_models)
    if len(given) < 2:
        raise HistoryError(
            f"backtest: expected at least 2 datasets with {min_models} measured models each, got "
            f"{len(given)} of {len(matrix.datasets)}: one is held out and judged by the others"
        )
    judged = _judge(given, reporter)
    targets = _targets(config, history, kept, metric, reporter)
    checked = check_calibration(
        given, Defaults().ranker, tolerance=config.recommend_options.tolerance
    )
    tested = _policies(config, targets, reporter) if targets else None
    whole = _end_to_end(config, given, targets, kept, reporter)
    enough = checked.summary["size"].mean
    return BacktestResult(
        modality,
        metric,
        matrix,
        judged,
        checked,
        tested,
        whole,
        conclude(permutation_test(matrix, min_models=min_models), judged, tested, enough=enough),
        config.recommend_options.tolerance,
        probe,
    )


def _without(drop: Sequence[str], matrix: PerformanceMatrix) -> PerformanceMatrix:
    for name in drop:
        if name not in matrix.datasets:
            raise HistoryError(
                f"drop-dataset: expected one of {', '.join(matrix.datasets)}, got {name!r}"
            )
        matrix = matrix.without_dataset(name)
    return matrix


def _cases(matrix: PerformanceMatrix, history: History, min_models: int) -> list[Case]:
    """Every dataset as a target, with the scores and features that tables have beside it."""
    if not isinstance(history, Tables):
        return hold_out_each(matrix, min_models=min_models)
    scores = {
        name: np.array(
            [[cells.get((m, d), np.nan) for d in matrix.datasets] for m in matrix.models]
        )
        for name, cells in history.scores().items()
    }
    return hold_out_each(
        matrix, scores, history.model_features(), history.dataset_features(), min_models=min_models
    )


def _judge(given: Sequence[Case], reporter: Reporter) -> RecommenderComparison:
    """All recommenders, one after the other, with a bar."""
    with reporter.progress("replay recommenders", len(RECOMMENDERS)) as bar:
        return compare_recommenders(given, RECOMMENDERS, done=lambda name: bar.advance(now=name))


def _targets(
    config: BacktestConfig,
    history: History,
    kept: ComparableRecords,
    metric: str,
    reporter: Reporter,
) -> list[Target]:
    """Datasets with recorded curves; none where there are none."""
    curves = _curves(config, history, kept, metric)
    for name in config.drop_datasets:
        curves = curves.without_dataset(name)
    if not curves.stages:
        reporter.warning("no curves are recorded: policies cannot be replayed")
        return []
    return list(held_out_targets(curves))


def _policies(
    config: BacktestConfig, targets: Sequence[Target], reporter: Reporter
) -> PolicyResults:
    """All policies on the recorded curves."""
    steps = len(BASELINES) + sum(len(policy_settings(name)) for name in COMPARED)
    with reporter.progress("replay policies", steps) as bar:
        return replay_policies(
            targets,
            top_k=config.top_k,
            min_gain_per_epoch=config.min_gain_per_epoch,
            baselines={name: partial(replay_prefixes, name) for name in BASELINES},
            done=lambda name: bar.advance(now=name),
        )


def _end_to_end(
    config: BacktestConfig,
    given: Sequence[Case],
    targets: Sequence[Target],
    kept: ComparableRecords,
    reporter: Reporter,
) -> dict[str, ReplayResult]:
    """Recall and selection together, as a selection goes where nobody asks for anything else."""
    defaults = replace(Defaults(), min_gain_per_epoch=config.min_gain_per_epoch)
    stages = config.stages or most_common_epochs(kept.recipes) or DEFAULT_STAGES
    if not targets:
        reporter.warning("end to end, epochs are at most these, and the best candidate wins")
    with reporter.progress("select end to end", len(targets) or len(given)) as bar:
        return replay_selections(
            given,
            targets,
            stages=stages,
            defaults=defaults,
            done=lambda name: bar.advance(now=name),
        )


def _curves(
    config: BacktestConfig, history: History, kept: ComparableRecords, metric: str
) -> Curves:
    """Of the records as they are, or of the steps that tables hold, at so many stages."""
    curves = Curves.from_records(kept.records)
    as_they_are = 0 < curves.stages <= MAX_STAGES and not config.stages
    if as_they_are or not isinstance(history, Tables):
        return curves
    recorded = history.curves(metric if curves.stages else "")
    if not recorded:
        return curves
    min_models = config.min_models or max(2, len({curve.model for curve in recorded}) // 2)
    found = resample_curves(recorded, config.stages, min_models)
    return (
        found
        if config.stages or found.stages <= MAX_STAGES
        else resample_curves(recorded, DEFAULT_STAGES, min_models)
    )


def _lifts(judged: RecommenderComparison) -> dict[str, list[float]]:
    """Recommender -> mean of its first K less that of all models, the paper's Fig. 5."""
    return {
        name: [each.summary[f"lift@{k}"].mean for k in SIZES]
        for name, each in judged.results.items()
        if name != RANDOM
    }


def _log(found: BacktestResult, run: ActiveRun) -> None:
    """Tables, pictures and the verdict of one back-test into a run."""
    sections = backtest_tables(found)
    for title, rows in sections.items():
        run.log_table(rows, f"{title.lower().replace(' ', '_')}.json")
    if found.policies is not None:
        fronts = {name: each.points for name, each in found.policies.frontiers.items()}
        run.log_figure(figures.frontier_figure(fronts), "frontiers.png")
    run.log_figure(figures.lift_figure(_lifts(found.comparison), SIZES), "lifts.png")
    measures = {
        f"backtest/{name}/{measure.replace('@', '_at_')}": each.mean
        for name, judged in found.comparison.results.items()
        for measure, each in judged.summary.items()
    }
    measures |= {
        f"end_to_end/{name.replace(' + ', '_')}_{what}": float(values.mean())
        for name, each in found.whole_selections.items()
        for what, values in (("epochs", each.total_epochs()), ("regret", each.regrets))
    }
    run.log_metrics(measures)
    run.set_tags(
        {tags.MODALITY: found.modality, "recall.applies": str(found.conclusion.applies).lower()}
    )
    told = "\n".join(f"- {sentence}" for sentence in found.conclusion.sentences)
    shown = "\n\n".join(
        f"### {title}\n\n{figures.markdown_table(rows)}" for title, rows in sections.items() if rows
    )
    run.set_description(f"**`auto`: {found.conclusion.outcome}.**\n\n{told}\n\n{shown}\n")
