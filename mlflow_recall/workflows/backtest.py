"""History -> how far recommenders and policies can be trusted on it, and what `auto` stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from mlflow_recall.adapters import figures, tags
from mlflow_recall.adapters.defaults import write_defaults
from mlflow_recall.adapters.ledger import Ledger, OpenRun, settings_of
from mlflow_recall.adapters.optuna_baselines import BASELINES, replay_prefixes
from mlflow_recall.config import BacktestConfig
from mlflow_recall.core.backtest.applies import applies
from mlflow_recall.core.backtest.calibration import calibration
from mlflow_recall.core.backtest.cases import LEAST, Case, cases
from mlflow_recall.core.backtest.end_to_end import end_to_end
from mlflow_recall.core.backtest.policies import (
    COMPARED,
    PolicyTest,
    policy_settings,
    policy_test,
)
from mlflow_recall.core.backtest.recommenders import RANDOM, SIZES, Contest, contest
from mlflow_recall.core.backtest.target import Target, held_out_targets
from mlflow_recall.core.backtest.verdict import conclude
from mlflow_recall.core.backtest.ways import Replayed
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.history import Usable, usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.metrics import usual_metric
from mlflow_recall.core.recipes import usual_epochs
from mlflow_recall.core.recommend import RECOMMENDERS
from mlflow_recall.core.records import Member
from mlflow_recall.core.stages import MANY, USUAL, staged
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import History, Tables, Voice
from mlflow_recall.workflows.backtested import Backtested, tables
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.probing import measured_probe


def backtest_history(
    config: BacktestConfig,
    history: History,
    voice: Voice,
    metric: str = "",
    probe: float | None = None,
    members: Sequence[Member] = (),
) -> list[Backtested]:
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
    metric = metric or config.metric or usual_metric(history.metrics())
    records = history.records(metric)
    modalities = sorted({record.modality for record in records if record.complete})
    chosen = [config.modality] if config.modality else modalities
    return [
        _backtest(
            config,
            history,
            usable(records, modality, members=members),
            modality,
            metric,
            voice,
            probe,
        )
        for modality in chosen
    ]


def backtest_zoo(config: BacktestConfig, bench: Bench) -> list[Backtested]:
    """Back-test a zoo's history, log a run for each modality, and keep what it favours."""
    metric = config.metric or "accuracy"
    done: list[Backtested] = []
    ledger = Ledger(bench.client, f"{bench.namespace}/backtest")
    probe, members = measured_probe(bench), bench.registry.members()
    try:
        for found in backtest_history(config, bench.history, bench.voice, metric, probe, members):
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
    probe: float | None,
) -> Backtested:
    for note in kept.notes:
        voice.say(f"note: {note}")
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
    targets = _targets(config, history, kept, metric, voice)
    checked = calibration(given, Defaults().ranker, tolerance=config.wish.tolerance)
    tested = _policies(config, targets, voice) if targets else None
    whole = _end_to_end(config, given, targets, kept, voice)
    enough = checked.summary["size"].mean
    return Backtested(
        modality,
        metric,
        matrix,
        judged,
        checked,
        tested,
        whole,
        conclude(applies(matrix, least=least), judged, tested, enough=enough),
        config.wish.tolerance,
        probe,
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


def _targets(
    config: BacktestConfig, history: History, kept: Usable, metric: str, voice: Voice
) -> list[Target]:
    """Datasets with recorded curves; none where there are none."""
    curves = _curves(config, history, kept, metric)
    for name in config.drop:
        curves = curves.without(name)
    if not curves.stages:
        voice.say("note: no curves are recorded: policies cannot be replayed")
        return []
    return list(held_out_targets(curves))


def _policies(config: BacktestConfig, targets: Sequence[Target], voice: Voice) -> PolicyTest:
    """All policies on the recorded curves."""
    steps = len(BASELINES) + sum(len(policy_settings(name)) for name in COMPARED)
    with voice.progress("replay policies", steps) as bar:
        return policy_test(
            targets,
            top_k=config.top_k,
            price=config.price,
            baselines={name: partial(replay_prefixes, name) for name in BASELINES},
            done=lambda name: bar.advance(now=name),
        )


def _end_to_end(
    config: BacktestConfig,
    given: Sequence[Case],
    targets: Sequence[Target],
    kept: Usable,
    voice: Voice,
) -> dict[str, Replayed]:
    """Recall and selection together, as a selection goes where nobody asks for anything else."""
    defaults = replace(Defaults(), price=config.price)
    stages = config.stages or usual_epochs(kept.recipes) or USUAL
    if not targets:
        voice.say("note: end to end, epochs are at most these, and the best candidate wins")
    with voice.progress("select end to end", len(targets) or len(given)) as bar:
        return end_to_end(
            given,
            targets,
            stages=stages,
            defaults=defaults,
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


def _lifts(judged: Contest) -> dict[str, list[float]]:
    """Recommender -> mean of its first K less that of all models, the paper's Fig. 5."""
    return {
        name: [each.summary[f"lift@{k}"].mean for k in SIZES]
        for name, each in judged.judged.items()
        if name != RANDOM
    }


def _log(found: Backtested, run: OpenRun) -> None:
    """Tables, pictures and the verdict of one back-test into a run."""
    sections = tables(found)
    for title, rows in sections.items():
        run.table(rows, f"{title.lower().replace(' ', '_')}.json")
    if found.policies is not None:
        fronts = {name: each.points for name, each in found.policies.frontiers.items()}
        run.picture(figures.frontiers(fronts), "frontiers.png")
    run.picture(figures.lifts(_lifts(found.contest), SIZES), "lifts.png")
    measures = {
        f"backtest/{name}/{measure.replace('@', '_at_')}": each.mean
        for name, judged in found.contest.judged.items()
        for measure, each in judged.summary.items()
    }
    measures |= {
        f"end_to_end/{name.replace(' + ', '_')}_{what}": float(values.mean())
        for name, each in found.end_to_end.items()
        for what, values in (("epochs", each.total()), ("regret", each.regrets))
    }
    run.log(measures)
    run.tag(
        {tags.MODALITY: found.modality, "recall.applies": str(found.conclusion.applies).lower()}
    )
    told = "\n".join(f"- {sentence}" for sentence in found.conclusion.sentences)
    shown = "\n\n".join(
        f"### {title}\n\n{figures.markdown_table(rows)}" for title, rows in sections.items() if rows
    )
    run.describe(f"**`auto`: {found.conclusion.outcome}.**\n\n{told}\n\n{shown}\n")
