"""How far a history can be trusted, and what ``auto`` stands for on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.optuna.baselines import BASELINES, replay_prefixes
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter, non_default
from mlflow_recall.adapters.tracking.stored_defaults import write_defaults
from mlflow_recall.config import BacktestConfig
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.calibration import Calibration, check_calibration
from mlflow_recall.core.backtest.frontier import paired
from mlflow_recall.core.backtest.holdout import (
    MIN_MODELS,
    HeldOutTarget,
    hold_out_curves,
    hold_out_each,
)
from mlflow_recall.core.backtest.policy_frontiers import (
    WHOLE_ZOO_POLICIES,
    PolicyResults,
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
from mlflow_recall.core.backtest.verdict import Conclusion, conclude
from mlflow_recall.core.backtest.whole_selections import replay_selections
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.formatting import format_number
from mlflow_recall.core.history.comparable import ComparableRecords, select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.recipes import most_common_epochs
from mlflow_recall.core.history.records import Member
from mlflow_recall.core.history.resample import DEFAULT_STAGES, MAX_STAGES, resample_curves
from mlflow_recall.core.history.score_units import RegretUnit, regret_unit
from mlflow_recall.core.policies import stopping_policies
from mlflow_recall.core.recommend import RECOMMENDERS
from mlflow_recall.core.recommend.probe_cost import PAPER_EPOCHS_PER_PROBE
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import History, Reporter, Tables
from mlflow_recall.safe_text import escape_markdown
from mlflow_recall.workflows.probes import measured_probe_epochs
from mlflow_recall.workflows.services import Services

#: a table: one mapping a row
TableRows: TypeAlias = list[dict[str, object]]


@dataclass(frozen=True, eq=False, kw_only=True)
class BacktestResult:
    """The back-test of one modality and metric."""

    modality: str
    #: as it was requested: the name of a metric, or ``primary``
    metric: str
    #: what regrets and the tolerance are measured in
    unit: RegretUnit
    matrix: PerformanceMatrix
    comparison: RecommenderComparison
    #: of the built-in ranker
    calibration: Calibration
    #: None where no curves are recorded
    policies: PolicyResults | None
    #: strategy -> recall and selection together; see ``core.backtest.whole_selections``
    whole_selections: Mapping[str, ReplayResult]
    conclusion: Conclusion
    tolerance: float
    #: epochs that one probe was worth in recorded recalls; None: there were none
    probe_epochs: float | None = None
    #: None where no server keeps it
    run_id: str | None = None


def backtest_history(
    config: BacktestConfig,
    history: History,
    reporter: Reporter,
    *,
    probe_epochs: float | None = None,
    members: Sequence[Member] = (),
) -> list[BacktestResult]:
    """Back-test a history, one modality after the other, and write nothing.

    Args:
        config: What is asked.
        history: A zoo's history, or tables.
        reporter: Reports what is left out.
        probe_epochs: Epochs that one probe was worth in recorded recalls; None: unknown.
        members: Models of the zoo; records of other versions of a model are left out.

    Raises:
        HistoryError: The history holds too little to hold out a dataset.
    """
    records = history.records(config.metric)
    modalities = sorted({record.modality for record in records if record.is_complete})
    results: list[BacktestResult] = []
    too_thin: dict[str, HistoryError] = {}
    for modality in [config.modality] if config.modality else modalities:
        comparable = select_comparable(records, modality, members=members)
        try:
            unit = regret_unit(comparable.records)
            backtest = _Backtest(config, history, reporter, unit)
            results.append(backtest.run(comparable, modality, probe_epochs))
        except HistoryError as error:
            too_thin[modality] = error
    for modality, reason in too_thin.items():
        message = f"{modality}: {reason}" if modality else str(reason)
        if not results:
            raise HistoryError(message)
        reporter.warning(message)
    return results


def backtest_zoo(config: BacktestConfig, services: Services) -> list[BacktestResult]:
    """Back-test a zoo's history, log a run for each modality, and keep the preferred defaults.

    Raises:
        HistoryError: The history holds too little to hold out a dataset.
    """
    results: list[BacktestResult] = []
    writer = RunWriter(services.client, f"{services.namespace}/backtest")
    for line in services.history.left_out(config.metric):
        services.reporter.warning(line)
    try:
        for result in backtest_history(
            config,
            services.history,
            services.reporter,
            probe_epochs=measured_probe_epochs(services),
            members=services.registry.members(),
        ):
            name = f"backtest {result.modality}".strip()
            run_id = None if results else services.run_id
            with writer.managed_run(name, "backtest", run_id) as run:
                defaults = replace(result.conclusion.defaults, run_id=run.run_id)
                run.log_params(non_default(vars(config)), "resolved.")
                _log(result, run)
                write_defaults(
                    services.client, services.namespace, result.modality, result.metric, defaults
                )
            results.append(replace(result, run_id=run.run_id))
    finally:
        writer.close()
    return results


@dataclass(frozen=True)
class _Backtest:
    """The back-test of one history by one metric."""

    config: BacktestConfig
    history: History
    reporter: Reporter
    unit: RegretUnit

    def run(
        self, comparable: ComparableRecords, modality: str, probe_epochs: float | None
    ) -> BacktestResult:
        """Back-test one modality."""
        config = self.config
        for note in (*comparable.notes, *self.unit.notes):
            self.reporter.warning(note)
        matrix = self.unit.matrix(comparable.records)
        matrix = matrix.without_datasets(config.drop_datasets)
        # a dataset that hardly any model was measured on judges nobody; small zoos have few models
        min_models = min(MIN_MODELS, max(2, len(matrix.models) // 2))
        targets = self._targets(matrix, min_models)
        if len(targets) < 2:
            raise HistoryError(
                f"backtest: expected at least 2 datasets with {min_models} measured models each, "
                f"got {len(targets)} of {len(matrix.datasets)}: one is held out, the others "
                "predict it"
            )
        comparison = self._compare_recommenders(targets)
        curve_targets = self._curve_targets(comparable)
        tolerance = self.unit.tolerance(config.tolerance)
        calibration = check_calibration(targets, Defaults().ranker, tolerance=tolerance)
        policies = self._replay_policies(curve_targets) if curve_targets else None
        return BacktestResult(
            modality=modality,
            metric=config.metric,
            unit=self.unit,
            matrix=matrix,
            comparison=comparison,
            calibration=calibration,
            policies=policies,
            whole_selections=self._replay_selections(targets, curve_targets, comparable),
            conclusion=conclude(
                permutation_test(matrix, min_models=min_models),
                comparison,
                policies,
                enough=calibration.summary["set_size"].mean,
            ),
            tolerance=tolerance,
            probe_epochs=probe_epochs,
        )

    def _targets(self, matrix: PerformanceMatrix, min_models: int) -> list[HeldOutTarget]:
        """Hold out every dataset, with the scores and features of tables."""
        if not isinstance(self.history, Tables):
            return hold_out_each(matrix, min_models=min_models)
        return hold_out_each(
            matrix,
            {name: _score_matrix(values, matrix) for name, values in self.history.scores().items()},
            self.history.model_features(),
            self.history.dataset_features(),
            min_models=min_models,
        )

    def _compare_recommenders(self, targets: Sequence[HeldOutTarget]) -> RecommenderComparison:
        with self.reporter.progress("replay recommenders", len(RECOMMENDERS)) as bar:
            return compare_recommenders(
                targets, RECOMMENDERS, on_done=lambda name: bar.advance(status=name)
            )

    def _curve_targets(self, comparable: ComparableRecords) -> list[HeldOutTarget]:
        """Hold out every dataset with recorded curves; none where there are none."""
        curves = self._curves(comparable)
        for name in self.config.drop_datasets:
            curves = curves.without_dataset(name)
        if not curves.stages:
            self.reporter.warning("no curves are recorded: policies cannot be replayed")
            return []
        return list(hold_out_curves(curves, unit=self.unit))

    def _curves(self, comparable: ComparableRecords) -> Curves:
        """Return the curves of the records, or those of tables at a few of their steps."""
        config, curves = self.config, Curves.from_records(comparable.records)
        is_usable = 0 < curves.stages <= MAX_STAGES and config.stages is None
        if is_usable or not isinstance(self.history, Tables):
            return curves
        recorded = self.history.curves(config.metric if curves.stages else None)
        if not recorded:
            return curves
        min_models = config.min_models or max(2, len({curve.model for curve in recorded}) // 2)
        resampled = resample_curves(recorded, config.stages, min_models)
        if config.stages or resampled.stages <= MAX_STAGES:
            return resampled
        return resample_curves(recorded, DEFAULT_STAGES, min_models)

    def _replay_policies(self, targets: Sequence[HeldOutTarget]) -> PolicyResults:
        settings = sum(len(spec.settings) for spec in stopping_policies().values())
        with self.reporter.progress("replay policies", len(BASELINES) + settings) as bar:
            return replay_policies(
                targets,
                top_k=self.config.top_k,
                options={"min_gain_per_epoch": self.config.min_gain_per_epoch},
                baselines={name: partial(replay_prefixes, name) for name in BASELINES},
                on_done=lambda name: bar.advance(status=name),
            )

    def _replay_selections(
        self,
        targets: Sequence[HeldOutTarget],
        curve_targets: Sequence[HeldOutTarget],
        comparable: ComparableRecords,
    ) -> dict[str, ReplayResult]:
        """Replay recall and selection together, with the built-in defaults."""
        if not curve_targets:
            self.reporter.warning(
                "end to end: epochs are an upper bound, and the best candidate is assumed to win"
            )
        stages = self.config.stages or most_common_epochs(comparable.recipes) or DEFAULT_STAGES
        total = len(curve_targets) or len(targets)
        with self.reporter.progress("replay whole selections", total) as bar:
            return replay_selections(
                targets,
                curve_targets,
                stages=stages,
                unit=self.unit,
                defaults=replace(Defaults(), min_gain_per_epoch=self.config.min_gain_per_epoch),
                on_done=lambda name: bar.advance(status=name),
            )


def _score_matrix(values: Mapping[tuple[str, str], float], matrix: PerformanceMatrix) -> FloatArray:
    """Return the (m, d) values of one score; NaN where it was not computed."""
    return np.array(
        [
            [values.get((model, dataset), np.nan) for dataset in matrix.datasets]
            for model in matrix.models
        ]
    )


def _lifts(comparison: RecommenderComparison) -> dict[str, list[float]]:
    """Return recommender -> lift of its first K models over all, as in the paper's Fig. 5."""
    return {
        name: [result.summary[f"lift@{k}"].mean for k in SIZES]
        for name, result in comparison.results.items()
        if name != RANDOM
    }


def _log(result: BacktestResult, run: ActiveRun) -> None:
    """Log tables, figures and the conclusion to a run."""
    tables = backtest_tables(result)
    for title, rows in tables.items():
        run.log_table(rows, f"{title.lower().replace(' ', '_')}.json")
    if result.policies is not None:
        points = {name: each.points for name, each in result.policies.frontiers.items()}
        run.log_figure(figures.frontier_figure(points), "frontiers.png")
    run.log_figure(figures.lift_figure(_lifts(result.comparison), SIZES), "lifts.png")
    metrics = {
        f"backtest/{name}/{measure.replace('@', '_at_')}": estimate.mean
        for name, recommender in result.comparison.results.items()
        for measure, estimate in recommender.summary.items()
    }
    metrics |= {
        f"end_to_end/{name.replace(' + ', '_')}_{measure}": float(values.mean())
        for name, replayed in result.whole_selections.items()
        for measure, values in (
            ("epochs", replayed.total_epochs()),
            ("regret", replayed.regrets),
        )
    }
    run.log_metrics(metrics)
    run.set_tags(
        {tags.MODALITY: result.modality, tags.APPLIES: str(result.conclusion.applies).lower()}
    )
    sentences = "\n".join(
        f"- {escape_markdown(sentence)}"
        for sentence in (*result.unit.notes, *result.conclusion.sentences)
    )
    sections = "\n\n".join(
        f"### {title}\n\n{figures.markdown_table(rows)}" for title, rows in tables.items() if rows
    )
    run.set_description(f"**`auto`: {result.conclusion.outcome}.**\n\n{sentences}\n\n{sections}\n")


def backtest_tables(result: BacktestResult) -> dict[str, TableRows]:
    """Return title -> rows of every table; empty where nothing is known."""
    return {
        "Recommenders": _recommender_rows(result),
        "Policies": _policy_rows(result),
        "End to end": _whole_selection_rows(result),
        "Frontiers": _frontier_rows(result),
        "Gaps to the best model": _calibration_rows(result),
    }


def _recommender_rows(result: BacktestResult) -> TableRows:
    rows: TableRows = []
    for name, recommender in result.comparison.results.items():
        mean = {measure: estimate.mean for measure, estimate in recommender.summary.items()}
        rows.append(
            {
                "recommender": name,
                **{f"regret@{k}": format_number(mean[f"regret@{k}"], 4) for k in SIZES},
                **{
                    measure: format_number(mean[measure], 2)
                    for measure in ("spearman", "pearson", "kendall")
                },
                "targets": len(recommender.datasets),
            }
        )
    return rows


def _policy_rows(result: BacktestResult) -> TableRows:
    if result.policies is None:
        return []
    table = result.policies.table
    brute_force, halving = (table[f"{name} of all"] for name in WHOLE_ZOO_POLICIES)
    return [
        {
            "policy": name,
            "candidates": format_number(float(policy.candidates.mean()), 1),
            "epochs": format_number(float(policy.epochs.mean()), 1),
            **_speedups_and_regret(policy, brute_force, halving, result),
        }
        for name, policy in table.items()
    ]


def _whole_selection_rows(result: BacktestResult) -> TableRows:
    brute_force, halving = (result.whole_selections.get(name) for name in WHOLE_ZOO_POLICIES)
    if brute_force is None or halving is None:
        return []
    measured = math.nan if result.probe_epochs is None else result.probe_epochs
    return [
        {
            "strategy": name,
            "candidates": format_number(float(replayed.candidates.mean()), 1),
            "epochs" if replayed.from_curves else "max epochs": format_number(
                float(replayed.epochs.mean()), 1
            ),
            "probe epochs (paper)": format_number(
                PAPER_EPOCHS_PER_PROBE * float(replayed.probes.mean()), 1
            ),
            "probe epochs (measured)": format_number(measured * float(replayed.probes.mean()), 1),
            **_speedups_and_regret(replayed, brute_force, halving, result),
            "targets": len(replayed.datasets),
        }
        for name, replayed in result.whole_selections.items()
    ]


def _speedups_and_regret(
    replayed: ReplayResult, brute_force: ReplayResult, halving: ReplayResult, result: BacktestResult
) -> dict[str, object]:
    within = f"within {result.tolerance:g}{result.unit.suffix}"
    return {
        "x brute force": format_number(replayed.speedup(brute_force), 1),
        "x halving": format_number(replayed.speedup(halving), 1),
        "regret": format_number(float(replayed.regrets.mean()), 4),
        within: format_number(replayed.share_within(result.tolerance), 2),
    }


def _frontier_rows(result: BacktestResult) -> TableRows:
    if result.policies is None:
        return []
    halving = result.policies.frontiers["halving"]
    rows: TableRows = []
    for name, frontier in result.policies.frontiers.items():
        difference, error = paired(frontier.nested, halving.nested)
        rows.append(
            {
                "policy": name,
                "area": format_number(frontier.area, 4),
                "nested": format_number(frontier.area_nested, 4),
                "nested - halving's": format_number(difference, 4),
                "standard error": format_number(error, 4),
            }
        )
    return rows


def _calibration_rows(result: BacktestResult) -> TableRows:
    """Compare predicted gaps with observed ones."""
    summary = result.calibration.summary
    return [
        {
            "recommender": result.calibration.name,
            "promised": result.calibration.promised,
            "covered": format_number(summary["covered"].mean, 2),
            "standard error": format_number(summary["covered"].standard_error, 2),
            "mean width": format_number(summary["width"].mean, 4),
            "predicted P(near)": format_number(summary["predicted"].mean, 2),
            "observed": format_number(summary["observed"].mean, 2),
            "set size": format_number(summary["set_size"].mean, 1),
            "set hit rate": format_number(summary["observed_smallest"].mean, 2),
        }
    ]
