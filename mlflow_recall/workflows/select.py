"""Recall -> fine-selection -> a registered winner; see ``Select`` in the documentation."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence

from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.runs import RunWriter, non_default
from mlflow_recall.config import SelectConfig
from mlflow_recall.core import policies
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.policies import PolicyHistory, PolicyOptions
from mlflow_recall.workflows.benchmark import resolve_recipe
from mlflow_recall.workflows.context import load_context
from mlflow_recall.workflows.race import Race
from mlflow_recall.workflows.recall import RecallResult, log_recall, recall_models
from mlflow_recall.workflows.selection import RacePlan, SelectionJob, SelectionResult, log_selection
from mlflow_recall.workflows.services import Services
from mlflow_recall.workflows.winner import register_winner, retrain_on_all, test_winner


def run_selection(
    config: SelectConfig, services: Services, registry: MlflowRegistry
) -> SelectionResult:
    """Find the model for a dataset, train it to the end and register it.

    Everything that can be wrong about dataset, zoo and history is found before a run is written.

    Raises:
        RecallError: it cannot be done; the parent run says why.
    """
    context = load_context(config.recall, services)
    writer = RunWriter(services.client, f"{services.namespace}/select")
    title = f"select for {context.dataset.name}"
    try:
        with writer.managed_run(title, "selection", services.run_id) as parent:
            parent.log_dataset_input(context.dataset, "target")
            parent.log_params(_resolved(config), "resolved.")
            job = SelectionJob(config, services, writer, parent)
            recall_result = recall_models(config.recall, context, services)
            log_recall(recall_result, parent)
            try:
                selected = _select(job, recall_result, registry)
            finally:
                shutil.rmtree(job.folder, ignore_errors=True)
            log_selection(selected, parent)
    finally:
        writer.close()
    return selected


def _select(
    job: SelectionJob, recall_result: RecallResult, registry: MlflowRegistry
) -> SelectionResult:
    """From the recalled models to the registered winner."""
    dataset, plan = recall_result.context.dataset, _plan(job.config, recall_result, job.services)
    stages, everyone = plan.options.stages, len(recall_result.recommendation.ranking.models)
    race = Race(job, recall_result, plan)
    try:
        winner = race.run()
        test = test_winner(job, winner, race.task(winner, stages + 1, stages))
        final = retrain_on_all(job, winner, dataset, stages, cut=bool(race.cut))
        version = register_winner(job, registry, winner, dataset, final, race.cut)
    except BaseException as error:
        for run in race.open_runs():
            run.finish_with_error(error)
        raise
    return SelectionResult(
        recall=recall_result,
        candidates=tuple(race.candidates),
        winner=winner,
        metric=job.metric,
        test=test,
        run_id=job.parent.run_id,
        experiment_id=job.parent.experiment_id,
        registered=version,
        epochs=sum(c.stage for c in race.candidates),
        seconds=job.seconds,
        cost={
            "brute_force": stages * everyone,
            "halving": policies.scheduled_epochs("halving", everyone, stages),
        },
        final=final,
        policy=plan.policy,
        has_predictions=plan.history is not None,
        budget_stop=race.cut,
    )


def _plan(config: SelectConfig, recall_result: RecallResult, services: Services) -> RacePlan:
    """The policy that decides, and whom it starts with."""
    context, defaults = recall_result.context, recall_result.defaults
    policy = defaults.policy if config.policy == "auto" else config.policy
    min_gain_per_epoch = (
        defaults.min_gain_per_epoch
        if config.min_gain_per_epoch is None
        else config.min_gain_per_epoch
    )
    names = recall_result.selected
    recipes = _recipes(config, recall_result, names)
    settings = PolicyOptions(
        next(iter(recipes.values())).epochs, config.threshold, min_gain_per_epoch
    )
    if policy not in policies.LEARNED:
        return RacePlan(policy, settings, None, recipes)
    curves = Curves.from_records(context.comparable.records)
    known = context.comparable.recipes
    recorded = {name: recipe for name, recipe in recipes.items() if name in curves.models}
    if any(recipe != known.get(name) for name, recipe in recorded.items()):
        why = "unknown in" if any(name not in known for name in recorded) else "another than"
        services.reporter.warning(
            f"the recipe is {why} the history's: trends do not hold, halving decides"
        )
        return RacePlan("halving", settings, None, recipes)
    if not curves.stages:
        services.reporter.warning("the history has no curves: halving decides")
        return RacePlan("halving", settings, None, recipes)
    if few := policies.data_warning(policy, len(curves.datasets)):
        services.reporter.warning(f"{few}")
    past = PolicyHistory(
        curves,
        recall_result.recommendation.gaps if recall_result.evidence.propagated_scores() else None,
    )
    if policy in policies.STARTERS and not config.recall.top_k:
        ranking = (
            *names,
            *(m for m in recall_result.recommendation.ranking.models if m not in names),
        )
        names = policies.STARTERS[policy](ranking, past, settings)
        recipes = _recipes(config, recall_result, names)
    return RacePlan(policy, settings, past, recipes)


def _recipes(
    config: SelectConfig, recall_result: RecallResult, names: Sequence[str]
) -> dict[str, Recipe]:
    """The history's recipe of every candidate; all with the same number of stages."""
    context, changes = recall_result.context, config.recipe
    known = context.comparable.recipes
    fields = ("epochs", "train_samples", "eval_samples", "input_size")
    usual = Counter(tuple(getattr(r, name) for name in fields) for r in known.values())
    common = dict(zip(fields, usual.most_common(1)[0][0], strict=True)) if usual else {}
    recipes = {}
    for name in names:
        recipe = known.get(name) or resolve_recipe(context.members[name], common)
        epochs = {"epochs": common["epochs"]} if common else {}
        recipes[name] = recipe.with_changes({**epochs, **changes}, "options")
    return recipes


def _resolved(config: SelectConfig) -> dict[str, object]:
    """Settings as the run keeps them; the declared parameters of `mlflow run` stay as they are."""
    plain = {**config.recall.__dict__, **config.__dict__}
    plain["dataset"] = config.recall.dataset.path
    plain.pop("recall")
    return non_default(plain)
