"""Settings of each command: frozen, and valid once they exist.

``None`` means that an option is unset; the comment beside it says what is used then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.external_runs.rules import ImportRules
from mlflow_recall.core.history.metrics import check_metric
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.score_units import RegretUnit
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.core.policies import POLICIES
from mlflow_recall.core.policies.budget import Budget
from mlflow_recall.core.recommend import RECOMMENDERS
from mlflow_recall.core.recommend.constraints import Constraints
from mlflow_recall.core.recommend.recommendation import RecommendOptions, TopK
from mlflow_recall.core.scores import SCORES, base_of
from mlflow_recall.errors import ConfigError, unknown_name

#: the word for what a back-test preferred, or the built-in default
AUTO = "auto"
FINALS = ("auto", "full", "same")
SIMILARITIES = ("performance", "description")
METHODS = ("hierarchical", "kmeans")
TESTS = ("last", "each")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Fine-tune every missing cell of models x datasets."""

    datasets: tuple[DatasetSpec, ...]
    #: names or shell patterns of models; empty: all
    models: tuple[str, ...] = ()
    #: fields of a recipe that differ from the family's default
    recipe: Mapping[str, object] = field(default_factory=dict)
    #: cells to train now, at most; None: all that are missing
    limit: int | None = None
    #: after which stages the test split is evaluated; a back-test of policies needs ``each``
    test: Literal["last", "each"] = "each"
    #: whether cells that other workers train are waited for, and trained here if those die
    wait: bool = True

    def __post_init__(self) -> None:
        Recipe().with_changes(self.recipe, "options")
        _check_choice("test", self.test, TESTS)
        _check_at_least({"limit": (self.limit, 1)})


@dataclass(frozen=True, kw_only=True)
class AdoptConfig:
    """Take runs that somebody logged for themselves into the history."""

    #: names, shell patterns or ids of experiments
    experiments: tuple[str, ...]
    rules: ImportRules = field(default_factory=ImportRules)
    #: a filter of MLflow's search, such as ``tags.team = 'x'``; None: all runs
    filter: str | None = None
    #: report what would be done, and change nothing
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not self.experiments:
            raise ConfigError("adopt: expected at least one --experiment, got none")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Cluster the models of a history."""

    #: name of a metric; ``primary``: that of each dataset
    metric: str = PRIMARY
    #: None: every modality that is recorded
    modality: str | None = None
    method: str = "hierarchical"
    #: height at which the tree is cut; None: see ``clusters``
    cut: float | None = None
    #: number of clusters; None: the one with the best silhouette
    clusters: int | None = None
    #: largest differences that are averaged in Eq. 1
    top: int = 5
    drop_datasets: tuple[str, ...] = ()
    #: ``performance`` (Eq. 1) or ``description``, the text that describes a model
    similarity: str = "performance"
    #: recorded datasets on which models without a history are scored; 0: features alone
    probe_new: int = 0

    def __post_init__(self) -> None:
        if self.cut is not None and self.clusters is not None:
            raise ConfigError("cut and clusters: expected one of them, got both")
        _check_at_least({"probe_new": (self.probe_new, 0), "top": (self.top, 1)})
        _check_choice("similarity", self.similarity, SIMILARITIES)
        _check_choice("method", self.method, METHODS)


@dataclass(frozen=True, kw_only=True)
class RecommendConfig:
    """Rank models, and select the set to train."""

    #: name of a metric; ``primary``: that of each dataset
    metric: str = PRIMARY
    #: None: the only one that is recorded, or that of the target
    modality: str | None = None
    #: mode of the recipes whose records count; None: that of most records
    mode: str | None = None
    #: ``auto``: one recommender ranks and another selects the set, as the defaults say
    recommender: str = AUTO
    #: models to train; None: as the defaults say
    top_k: TopK = None
    #: regret that is treated as zero; None: the default of its unit
    tolerance: float | None = None
    #: probability with which the set of ``auto`` shall hold a model within the tolerance
    confidence: float = 0.9
    #: names or shell patterns of models; empty: all
    models: tuple[str, ...] = ()
    constraints: Constraints = field(default_factory=Constraints)
    #: datasets of plain tables that are left out
    drop_datasets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.recommender != AUTO:
            RECOMMENDERS[self.recommender]
        if not 0 < self.confidence < 1:
            raise ConfigError(
                f"confidence: expected a share between 0 and 1, got {self.confidence:g}"
            )
        if isinstance(self.top_k, int):
            _check_at_least({"top_k": (self.top_k, 1)})
        _check_tolerance(self.tolerance)

    def recommend_options(
        self, unit: RegretUnit, defaults: Defaults | None = None
    ) -> RecommendOptions:
        """Return the options of a recommendation.

        Args:
            unit: What regret and tolerance are measured in.
            defaults: What ``auto`` stands for; None: the built-in defaults.
        """
        return RecommendOptions(
            recommender=self.recommender,
            top_k=self.top_k,
            tolerance=unit.tolerance(self.tolerance),
            unit=unit,
            confidence=self.confidence,
            defaults=defaults or Defaults(),
        )


@dataclass(frozen=True, kw_only=True)
class RecallConfig:
    """Rank the models of a zoo for a dataset, and select the set to train."""

    dataset: DatasetSpec
    recommend: RecommendConfig = field(default_factory=RecommendConfig)
    #: names of scores; empty: ``logme`` and ``hscore``, and ``leep`` if all heads are real
    scores: tuple[str, ...] = ()
    #: samples of the target that a probe looks at
    probe_samples: int = 500
    #: text model, or a folder of one, that compares class names for recommenders that read them;
    #: None: they are not compared
    label_encoder: str | None = None

    def __post_init__(self) -> None:
        if self.recommend.metric != PRIMARY:
            check_metric(self.recommend.metric)
        for name in self.scores:
            if base_of(name) not in SCORES:
                raise ConfigError(unknown_name("score", name, {AUTO, *SCORES}))


@dataclass(frozen=True, kw_only=True)
class BacktestConfig:
    """Replay recommenders and policies on what is recorded."""

    #: name of a metric; ``primary``: that of each dataset
    metric: str = PRIMARY
    #: None: every modality that is recorded
    modality: str | None = None
    #: stages of a curve; None: as recorded
    stages: int | None = None
    #: models that a step and a dataset need; None: half of them
    min_models: int | None = None
    #: candidates of the policies that do not choose them themselves
    top_k: int = 10
    #: regret that is treated as zero; None: the default of its unit
    tolerance: float | None = None
    #: gain in the metric that one more epoch must be expected to bring
    min_gain_per_epoch: float = 0.001
    #: datasets that are left out
    drop_datasets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_tolerance(self.tolerance)
        _check_at_least(
            {
                "stages": (self.stages, 1),
                "min_models": (self.min_models, 1),
                "top_k": (self.top_k, 1),
                "min_gain_per_epoch": (self.min_gain_per_epoch, 0),
            }
        )


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """Recall K models, fine-tune them in stages, register the winner."""

    recall: RecallConfig
    #: ``auto``: what the back-test of the history preferred, or the built-in default
    policy: str = AUTO
    #: options of the policy that differ from their defaults
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    #: name of the registered winner; None: the dataset's
    register_as: str | None = None
    alias: str = "winner"
    #: ``full`` retrains the winner on all samples, ``same`` does not, ``auto`` where there are more
    final: str = "auto"
    #: trainings of each finalist, with a seed of its own each; the best mean wins
    seeds: int = 1
    #: fields of the recipe that differ from the history's; any of them turns predictions off
    recipe: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_policy(self.policy, self.policy_options)
        Recipe().with_changes(self.recipe, "options")
        if not self.budget.epochs >= 1:
            raise ConfigError(
                f"budget_epochs: expected at least 1 epoch, got {self.budget.epochs:g}"
            )
        if not self.budget.seconds > 0:
            raise ConfigError(
                f"budget_hours: expected more than 0, got {self.budget.seconds / 3600:g}"
            )
        _check_choice("final", self.final, FINALS)
        _check_at_least({"seeds": (self.seeds, 1)})
        if self.seeds > 1 and self.budget.is_limited:
            raise ConfigError(
                f"seeds: expected 1 beside a budget of {self.budget}, got {self.seeds}: leave out "
                "one of them"
            )
        for name, value in (("register_as", self.register_as or ""), ("alias", self.alias)):
            if any(c in value for c in "/:"):
                raise ConfigError(f"{name}: expected a name without '/' and ':', got {value!r}")
        plain = self.alias.replace("-", "").replace("_", "")
        if not plain.isalnum() or self.alias == "latest" or _is_version(self.alias):
            raise ConfigError(
                f"alias: expected letters, digits, '_' and '-', and neither 'latest' nor 'v1', "
                f"got {self.alias!r}"
            )


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """Estimate what a selection will cost and find, and what to benchmark next."""

    recommend: RecommendConfig = field(default_factory=RecommendConfig)
    #: the target; None: a dataset like the recorded ones
    dataset: DatasetSpec | None = None
    #: stages of a curve; None: as recorded
    stages: int | None = None
    #: models that are trained in parallel
    workers: int = 1
    #: samples of the target that a probe looks at
    probe_samples: int = 500
    #: None: no limit
    budget_epochs: float | None = None
    budget_hours: float | None = None
    #: cells to propose
    next_cells: int = 0

    def __post_init__(self) -> None:
        _check_at_least(
            {
                "stages": (self.stages, 1),
                "workers": (self.workers, 1),
                "probe_samples": (self.probe_samples, 1),
                "next": (self.next_cells, 0),
            }
        )
        for name, budget in (
            ("budget_epochs", self.budget_epochs),
            ("budget_hours", self.budget_hours),
        ):
            if budget is not None and not budget > 0:
                raise ConfigError(f"{name}: expected more than 0, got {budget:g}")

    @property
    def has_budget(self) -> bool:
        """Whether epochs or hours are limited."""
        return self.budget_epochs is not None or self.budget_hours is not None


def _check_policy(policy: str, options: Mapping[str, Any]) -> None:
    """Check the options of a policy; those of ``auto`` must suit every policy that has them."""
    if policy != AUTO:
        POLICIES[policy].make_options(1, options)
        return
    for option, value in options.items():
        owners = [spec for spec in POLICIES.values() if option in spec.option_names]
        if not owners:
            known = {name for spec in POLICIES.values() for name in spec.option_names}
            raise ConfigError(unknown_name("policy option", option, known))
        for spec in owners:
            spec.make_options(1, {option: value})


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(unknown_name(f"value of {name}", value, choices))


def _check_at_least(values: Mapping[str, tuple[float | None, float]]) -> None:
    """Check option -> (value, lowest value allowed); None is unset."""
    for name, (value, lowest) in values.items():
        if value is not None and not value >= lowest:
            raise ConfigError(f"{name}: expected {lowest:g} or more, got {value:g}")


def _check_tolerance(tolerance: float | None) -> None:
    if tolerance is not None and not 0 <= tolerance < math.inf:
        raise ConfigError(f"tolerance: expected 0 or more, got {tolerance:g}")


def _is_version(alias: str) -> bool:
    return alias[:1] in "vV" and alias[1:].isdigit()
