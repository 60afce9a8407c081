"""Which policy decides, with which candidates and recipes a race starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_recall.config import AUTO, SelectConfig
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.score_units import unit_of
from mlflow_recall.core.policies import POLICIES, PolicyHistory, PolicyOptions, PolicySpec
from mlflow_recall.errors import ConfigError
from mlflow_recall.workflows.benchmark import resolve_recipe
from mlflow_recall.workflows.context import SelectionContext, preferred_defaults
from mlflow_recall.workflows.recall import RecallResult
from mlflow_recall.workflows.services import Services

#: policy that decides where the requested one lacks the history that it needs
_WITHOUT_HISTORY = "halving"


@dataclass(frozen=True, eq=False)
class RacePlan:
    """Who is trained, by which recipe, and which policy stops whom."""

    policy: str
    options: PolicyOptions
    #: None: no final scores are predicted
    history: PolicyHistory | None
    #: candidate -> its recipe, in the order of recall
    recipes: Mapping[str, Recipe]

    @property
    def stages(self) -> int:
        """Stages of one fine-tuning."""
        return self.options.stages

    @property
    def spec(self) -> PolicySpec[Any]:
        """The row of the policy."""
        return POLICIES[self.policy]


def check_auto_policy(config: SelectConfig, context: SelectionContext, services: Services) -> None:
    """Check that the policy behind ``auto`` has the requested options, before any run is written.

    Raises:
        ConfigError: It lacks one of them.
    """
    if config.policy != AUTO:
        return
    policy = preferred_defaults(context, services).policy
    for name in config.policy_options:
        if name not in POLICIES[policy].option_names:
            raise ConfigError(
                f"{name}: expected an option of {policy}, the policy of `auto` on this history: "
                "name another one with --policy"
            )


def plan_race(config: SelectConfig, recalled: RecallResult, services: Services) -> RacePlan:
    """Choose policy, candidates and recipes.

    A policy that needs recorded curves gives way to halving where there are none in the unit of the
    target's metric, or where the candidates are trained by another recipe than the recorded one,
    since trends hold for one recipe.

    Raises:
        ConfigError: The policy has no such option.
    """
    defaults = recalled.defaults
    policy = defaults.policy if config.policy == AUTO else config.policy
    spec = POLICIES[policy]
    names = recalled.selected
    recipes = _recipes(config, recalled, names)
    stages = next(iter(recipes.values())).epochs
    preferred = spec.select_options({"min_gain_per_epoch": defaults.min_gain_per_epoch})
    options = spec.make_options(stages, {**preferred, **config.policy_options})
    if not spec.needs_history:
        return RacePlan(policy, options, None, recipes)
    context, dataset = recalled.context, recalled.dataset
    curves = Curves.from_records(context.comparable.records)
    curves = curves.in_unit(unit_of(context.metric.target, dataset.name))
    if reason := _why_no_prediction(recalled, curves, recipes):
        services.reporter.warning(f"{reason}: {_WITHOUT_HISTORY} decides instead of {policy}")
        fallback = POLICIES[_WITHOUT_HISTORY].make_options(stages)
        return RacePlan(_WITHOUT_HISTORY, fallback, None, recipes)
    if warning := spec.warn_about(len(curves.datasets)):
        services.reporter.warning(warning)
    # gaps move scores, so they need the scores' unit
    uses_gaps = bool(recalled.evidence.propagated_scores()) and not context.unit.is_share
    history = PolicyHistory(curves, recalled.recommendation.gaps if uses_gaps else None)
    if spec.initial_candidates and config.recall.recommend.top_k is None:
        others = [m for m in recalled.recommendation.ranking.models if m not in names]
        names = spec.initial_candidates((*names, *others), history, options)
        recipes = _recipes(config, recalled, names)
    return RacePlan(policy, options, history, recipes)


def _why_no_prediction(
    recalled: RecallResult, curves: Curves, recipes: Mapping[str, Recipe]
) -> str | None:
    """Say why the history cannot predict the candidates' final scores; None if it can."""
    task = recalled.dataset.task
    known = {
        name: recipe.for_task(task) for name, recipe in recalled.context.comparable.recipes.items()
    }
    recorded = {name: recipe for name, recipe in recipes.items() if name in curves.models}
    if any(recipe != known.get(name) for name, recipe in recorded.items()):
        if any(name not in known for name in recorded):
            return "the history does not say by which recipe it was recorded"
        return "the recipe differs from the history's, so its trends do not hold"
    if not curves.stages:
        return "the history has no curves"
    if not curves.datasets:
        return f"the history has no curves in the unit of {recalled.context.metric.target}"
    return None


def _recipes(
    config: SelectConfig, recalled: RecallResult, names: Sequence[str]
) -> dict[str, Recipe]:
    """Return the recorded recipe of every candidate, all with the same number of stages."""
    context, changes = recalled.context, config.recipe
    known = context.comparable.recipes
    shared_fields = ("epochs", "train_samples", "eval_samples", "input_size")
    counts = Counter(tuple(getattr(r, name) for name in shared_fields) for r in known.values())
    shared = dict(zip(shared_fields, counts.most_common(1)[0][0], strict=True)) if counts else {}
    mode = {"mode": context.comparable.mode}
    recipes = {}
    for name in names:
        recipe = known.get(name) or resolve_recipe(context.members[name], {**shared, **mode})
        epochs = {"epochs": shared["epochs"]} if shared else {}
        recipe = recipe.for_task(recalled.dataset.task)
        recipes[name] = recipe.with_changes({**epochs, **changes}, "options")
    return recipes
