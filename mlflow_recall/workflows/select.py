"""Recall -> fine-selection -> a registered winner; see ``Select`` in the documentation."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence

from mlflow_recall.adapters.ledger import Ledger, settings_of
from mlflow_recall.adapters.registry import MlflowRegistry
from mlflow_recall.config import SelectConfig
from mlflow_recall.core import policies
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.policies import Past, Settings
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.benchmark import recipe_of
from mlflow_recall.workflows.prospect import survey
from mlflow_recall.workflows.race import Race
from mlflow_recall.workflows.recall import Recalled, log_recall, recall
from mlflow_recall.workflows.selection import Job, Plan, Selected, log_selection
from mlflow_recall.workflows.winner import registered, tested, trained_on_all


def select(config: SelectConfig, bench: Bench, registry: MlflowRegistry) -> Selected:
    """Find the model for a dataset, train it to the end and register it.

    Everything that can be wrong about dataset, zoo and history is found before a run is written.

    Raises:
        RecallError: it cannot be done; the parent run says why.
    """
    prospect = survey(config.recall, bench)
    ledger = Ledger(bench.client, f"{bench.namespace}/select")
    title = f"select for {prospect.dataset.name}"
    try:
        with ledger.running(title, "selection", bench.run_id) as parent:
            parent.reads(prospect.dataset, "target")
            parent.params(_resolved(config), "resolved.")
            job = Job(config, bench, ledger, parent)
            recalled = recall(config.recall, prospect, bench)
            log_recall(recalled, parent)
            try:
                selected = _select(job, recalled, registry)
            finally:
                shutil.rmtree(job.folder, ignore_errors=True)
            log_selection(selected, parent)
    finally:
        ledger.close()
    return selected


def _select(job: Job, recalled: Recalled, registry: MlflowRegistry) -> Selected:
    """From the recalled models to the registered winner."""
    dataset, plan = recalled.prospect.dataset, _plan(job.config, recalled, job.bench)
    stages, everyone = plan.settings.stages, len(recalled.advice.ranking.models)
    race = Race(job, recalled, plan)
    try:
        winner = race.run()
        test = tested(job, winner, race.task(winner, stages + 1, stages))
        final = trained_on_all(job, winner, dataset, stages, cut=bool(race.cut))
        version = registered(job, registry, winner, dataset, final, race.cut)
    except BaseException as error:
        for run in race.open_runs():
            run.abandon(error)
        raise
    return Selected(
        recalled=recalled,
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
            "halving": policies.epochs("halving", everyone, stages),
        },
        final=final,
        policy=plan.policy,
        foretold=plan.past is not None,
        cut=race.cut,
    )


def _plan(config: SelectConfig, recalled: Recalled, bench: Bench) -> Plan:
    """The policy that decides, and whom it starts with."""
    prospect, defaults = recalled.prospect, recalled.defaults
    policy = defaults.policy if config.policy == "auto" else config.policy
    price = defaults.price if config.price is None else config.price
    names = recalled.chosen
    recipes = _recipes(config, recalled, names)
    settings = Settings(next(iter(recipes.values())).epochs, config.threshold, price)
    if policy not in policies.LEARNED:
        return Plan(policy, settings, None, recipes)
    curves = Curves.of(prospect.usable.records)
    known = prospect.usable.recipes
    recorded = {name: recipe for name, recipe in recipes.items() if name in curves.models}
    if any(recipe != known.get(name) for name, recipe in recorded.items()):
        why = "unknown in" if any(name not in known for name in recorded) else "another than"
        bench.voice.say(
            f"note: the recipe is {why} the history's: trends do not hold, halving decides"
        )
        return Plan("halving", settings, None, recipes)
    if not curves.stages:
        bench.voice.say("note: the history has no curves: halving decides")
        return Plan("halving", settings, None, recipes)
    if few := policies.caveat(policy, len(curves.datasets)):
        bench.voice.say(f"note: {few}")
    past = Past(curves, recalled.advice.gaps if recalled.evidence.signals() else None)
    if policy in policies.STARTERS and not config.recall.top_k:
        ranking = (*names, *(m for m in recalled.advice.ranking.models if m not in names))
        names = policies.STARTERS[policy](ranking, past, settings)
        recipes = _recipes(config, recalled, names)
    return Plan(policy, settings, past, recipes)


def _recipes(config: SelectConfig, recalled: Recalled, names: Sequence[str]) -> dict[str, Recipe]:
    """The history's recipe of every candidate; all with the same number of stages."""
    prospect, changes = recalled.prospect, config.recipe
    known = prospect.usable.recipes
    fields = ("epochs", "train_samples", "eval_samples", "input_size")
    usual = Counter(tuple(getattr(r, name) for name in fields) for r in known.values())
    common = dict(zip(fields, usual.most_common(1)[0][0], strict=True)) if usual else {}
    recipes = {}
    for name in names:
        recipe = known.get(name) or recipe_of(prospect.members[name], common)
        epochs = {"epochs": common["epochs"]} if common else {}
        recipes[name] = recipe.altered({**epochs, **changes}, "options")
    return recipes


def _resolved(config: SelectConfig) -> dict[str, object]:
    """Settings as the run keeps them; the declared parameters of `mlflow run` stay as they are."""
    plain = {**config.recall.__dict__, **config.__dict__}
    plain["dataset"] = config.recall.dataset.path
    plain.pop("recall")
    return settings_of(plain)
