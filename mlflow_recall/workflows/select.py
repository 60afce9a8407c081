"""Recall, fine-selection, and a registered winner."""

from __future__ import annotations

import math
import shutil

from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.runs import RunWriter, non_default
from mlflow_recall.adapters.zoo import check_mode
from mlflow_recall.config import SelectConfig
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.core.history.tasks import REGRESSION
from mlflow_recall.core.policies import POLICIES
from mlflow_recall.errors import ConfigError, RecallError
from mlflow_recall.workflows.race import Race
from mlflow_recall.workflows.race_plan import check_auto_policy, plan_race
from mlflow_recall.workflows.recall import RecallResult, load_target, log_recall, recall_models
from mlflow_recall.workflows.selection import RegisteredModel, SelectionResult, log_selection
from mlflow_recall.workflows.selection_job import SelectionJob
from mlflow_recall.workflows.services import Services
from mlflow_recall.workflows.winner import evaluate_winner, register_winner, retrain_on_all


def run_selection(
    config: SelectConfig, services: Services, registry: MlflowRegistry
) -> SelectionResult:
    """Find the best model for a dataset, train it to the end and register it.

    Whatever is wrong with dataset, zoo and history shows before a run is written.

    Raises:
        RecallError: The selection is not possible; the parent run says why.
    """
    dataset, context = load_target(config.recall, services)
    check_mode(context.comparable.mode)
    _check_class_weight(config, dataset)
    check_auto_policy(config, context, services)
    writer = RunWriter(services.client, f"{services.namespace}/select")
    try:
        with writer.managed_run(
            f"select for {dataset.name}", "selection", services.run_id
        ) as parent:
            parent.log_dataset_input(dataset, "target")
            parent.log_account(dataset)
            parent.log_params(_resolved(config), "resolved.")
            job = SelectionJob(
                config=config,
                services=services,
                writer=writer,
                parent=parent,
                metric=context.metric.target,
            )
            recalled = recall_models(config.recall, context, services)
            log_recall(recalled, parent)
            try:
                result = _select(job, recalled, registry)
            finally:
                shutil.rmtree(job.folder, ignore_errors=True)
            log_selection(result, parent)
            if reason := result.failed.get("registration"):
                parent.finish("FAILED", reason)
    finally:
        writer.close()
    return result


def _check_class_weight(config: SelectConfig, dataset: Dataset) -> None:
    if config.recipe.get("class_weight", "none") != "none" and dataset.task == REGRESSION:
        raise ConfigError(
            f"class_weight: expected none for {dataset.name}, which has numbers and no classes, "
            f"got {config.recipe['class_weight']}"
        )


def _select(job: SelectionJob, recalled: RecallResult, registry: MlflowRegistry) -> SelectionResult:
    """Train the recalled models, and register the winner."""
    dataset = recalled.dataset
    plan = plan_race(job.config, recalled, job.services)
    stages, eligible = plan.stages, len(recalled.recommendation.ranking.models)
    race = Race(job, recalled.context, dataset, plan)
    try:
        winner = race.run()
        test = evaluate_winner(job, winner, race.task(winner, stages + 1, stages))
        final = retrain_on_all(job, winner, dataset, has_budget_stop=race.budget_stop is not None)
        failed = {"training on all samples": final.error} if final.error else {}
        registered: RegisteredModel | None = None
        try:
            registered = register_winner(job, registry, winner, dataset, final, race.budget_stop)
        except (MlflowException, RecallError) as error:  # what was found is not lost for that
            failed["registration"] = " ".join(str(error).split())
            job.services.reporter.warning(f"failed: registration: {failed['registration']}")
    except BaseException as error:
        for candidate in race.candidates:
            if not candidate.run.is_closed:
                candidate.run.finish_with_error(error)
        raise
    return SelectionResult(
        recall=recalled,
        candidates=tuple(race.candidates),
        winner=winner,
        metric=job.metric,
        test=test,
        run_id=job.parent.run_id,
        experiment_id=job.parent.experiment_id,
        registered=registered,
        epochs=sum(c.epochs for c in race.candidates),
        seconds=job.seconds,
        cost={
            name: POLICIES[name].max_epochs(eligible, stages) for name in ("brute_force", "halving")
        },
        final=final,
        policy=plan.policy,
        has_predictions=plan.history is not None,
        budget_stop=race.budget_stop,
        failed=failed,
    )


def _resolved(config: SelectConfig) -> dict[str, object]:
    """Return the settings as parameters; those that `mlflow run` declares stay as they are."""
    recommend, recall = config.recall.recommend, config.recall
    limits = {f"budget_{name}": limit for name, limit in vars(config.budget).items()}
    values = {
        **vars(recommend.constraints),
        **{name: limit for name, limit in limits.items() if math.isfinite(limit)},
        **vars(recommend),
        **vars(recall),
        **vars(config),
        "dataset": recall.dataset.path,
    }
    for name in ("recall", "recommend", "constraints", "budget"):
        del values[name]
    return non_default(values)
