"""Settings of each command: frozen, and valid once they exist."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.core.external_runs.rules import ImportRules
from mlflow_recall.core.history.metrics import METRICS, check_metric, is_bounded
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.policies import get_policy
from mlflow_recall.core.policies.budget import Budget
from mlflow_recall.core.recommend import get_recommender
from mlflow_recall.core.recommend.constraints import Constraints
from mlflow_recall.core.recommend.recommendation import RecommendOptions
from mlflow_recall.core.scores import base_of, known_scores
from mlflow_recall.errors import ConfigError, unknown_name

FINALS = ("auto", "full", "same")
SIMILARITIES = ("performance", "card")
#: gap to the best that does not matter, for metrics in [0, 1]
_TOLERANCE = 0.01
TESTS = ("last", "each")


@dataclass(frozen=True)
class BenchmarkConfig:
    """Fine-tune every missing cell of models x datasets."""

    datasets: tuple[DatasetSpec, ...]
    #: names or shell patterns of models; empty: all
    models: tuple[str, ...] = ()
    #: fields of a recipe that differ from the family's default
    recipe: Mapping[str, object] = field(default_factory=dict)
    #: at most so many cells are trained now; 0: all that are missing
    limit: int = 0
    #: after which stages the test split is evaluated; a back-test of policies wants ``each``
    test: Literal["last", "each"] = "each"

    def __post_init__(self) -> None:
        Recipe().with_changes(self.recipe, "options")
        if self.test not in TESTS:
            raise ConfigError(unknown_name("value of test", self.test, TESTS))


@dataclass(frozen=True)
class AdoptConfig:
    """Take runs that somebody logged for themselves into the history."""

    #: names, shell patterns or ids of experiments
    experiments: tuple[str, ...]
    rules: ImportRules = field(default_factory=ImportRules)
    #: a filter as MLflow's search knows it, such as ``tags.team = 'x'``
    filter: str = ""
    #: say what would be done, and change nothing
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not self.experiments:
            raise ConfigError("adopt: expected at least one --experiment, got none")


@dataclass(frozen=True)
class ClusterConfig:
    """Cluster the models of a history."""

    metric: str = "accuracy"
    modality: str = ""
    method: str = "hierarchical"
    cut: float | None = None
    clusters: int | None = None
    top: int = 5
    drop_datasets: tuple[str, ...] = ()
    #: ``performance`` (eq. 1) or ``card``, the text that describes a model
    similarity: str = "performance"
    #: a text model, or a folder of one, whose embeddings compare cards; empty: their words
    encoder: str = ""
    #: recorded datasets on which models without a history are scored; 0: features alone speak
    probe_new: int = 0

    def __post_init__(self) -> None:
        if self.cut is not None and self.clusters is not None:
            raise ConfigError("cut and clusters: expected one of them, got both")
        if self.probe_new < 0:
            raise ConfigError(f"probe_new: expected 0 or more datasets, got {self.probe_new}")
        if self.similarity not in SIMILARITIES:
            raise ConfigError(unknown_name("similarity", self.similarity, SIMILARITIES))


@dataclass(frozen=True)
class RecommendConfig:
    """Rank models by what is recorded, without a look at any dataset."""

    metric: str = "accuracy"
    modality: str = ""
    recommender: str = "auto"
    top_k: int | None = 0
    tolerance: float | None = None
    confidence: float = 0.9
    models: tuple[str, ...] = ()
    constraints: Constraints = field(default_factory=Constraints)
    #: datasets of plain tables that are left out
    drop_datasets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_wish(self.recommend_options, self.metric, self.tolerance)

    @property
    def recommend_options(self) -> RecommendOptions:
        """What is asked of the recommendation."""
        tolerance = _TOLERANCE if self.tolerance is None else self.tolerance
        return RecommendOptions(self.recommender, self.top_k, tolerance, self.confidence)


@dataclass(frozen=True)
class BacktestConfig:
    """Replay recommenders and policies on what is recorded."""

    #: empty: the only one of a folder of tables, or accuracy
    metric: str = ""
    modality: str = ""
    #: stages of a curve; 0: as recorded
    stages: int = 0
    #: models that a step and a dataset need; 0: half of them
    min_models: int = 0
    #: candidates of the policies that are told how many
    top_k: int = 10
    tolerance: float | None = None
    #: score that one more epoch must be expected to bring
    min_gain_per_epoch: float = 0.001
    #: datasets that are left out
    drop_datasets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_wish(self.recommend_options, self.metric, self.tolerance)
        for name, value, least in (
            ("stages", self.stages, 0),
            ("min_models", self.min_models, 0),
            ("top_k", self.top_k, 1),
            ("price", self.min_gain_per_epoch, 0),
        ):
            if not value >= least:
                raise ConfigError(f"{name}: expected {least} or more, got {value:g}")

    @property
    def recommend_options(self) -> RecommendOptions:
        """What a selection would ask for."""
        tolerance = _TOLERANCE if self.tolerance is None else self.tolerance
        return RecommendOptions(top_k=self.top_k, tolerance=tolerance)


@dataclass(frozen=True)
class RecallConfig:
    """Rank the models of a zoo for a dataset, and keep the best K."""

    dataset: DatasetSpec
    metric: str = "accuracy"
    #: ``auto``: blend ranks and portfolio picks the set; see ``core.advice``
    recommender: str = "auto"
    #: names between commas; ``auto``: see ``recall``
    score: str = "auto"
    #: 0: five, or all where there are fewer; None: as few as reach the confidence
    top_k: int | None = 0
    #: wanted probability that the set holds a model within the tolerance
    confidence: float = 0.9
    #: gap to the best that does not matter; 0.01 for metrics in [0, 1]
    tolerance: float | None = None
    #: samples of the target that a probe looks at
    probe_samples: int = 500
    #: a text model, or a folder of one, that compares class names for ``linear`` and
    #: ``factorization``; empty: they are not compared
    label_encoder: str = ""
    models: tuple[str, ...] = ()
    constraints: Constraints = field(default_factory=Constraints)

    def __post_init__(self) -> None:
        check_metric(self.metric)
        _check_wish(self.recommend_options, self.metric, self.tolerance)
        for name in self.scores:
            if base_of(name) not in known_scores():
                raise ConfigError(unknown_name("score", name, {"auto", *known_scores()}))

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that were asked for; empty: whichever serve."""
        named = () if self.score == "auto" else self.score.split(",")
        return tuple(name.strip() for name in named if name.strip())

    @property
    def recommend_options(self) -> RecommendOptions:
        """What is asked of the recommendation."""
        tolerance = _TOLERANCE if self.tolerance is None else self.tolerance
        return RecommendOptions(self.recommender, self.top_k, tolerance, self.confidence)


@dataclass(frozen=True)
class SelectConfig:
    """Recall K models, fine-tune them in stages, register the winner."""

    recall: RecallConfig
    #: ``auto``: what the back-test of the history favored, or the built-in default
    policy: str = "auto"
    #: share by which a rival must be foretold to end higher
    threshold: float = 0.0
    #: score that one more epoch must be expected to bring; None: that of the defaults
    min_gain_per_epoch: float | None = None
    budget: Budget = field(default_factory=Budget)
    #: name of the registered winner; empty: the dataset's
    register_as: str = ""
    alias: str = "winner"
    final: str = "auto"
    #: fields of the recipe that differ from the history's; any of them turns trends off
    recipe: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.policy != "auto":
            get_policy(self.policy)
        Recipe().with_changes(self.recipe, "options")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"threshold: expected a share in [0, 1), got {self.threshold:g}")
        if self.min_gain_per_epoch is not None and not 0 <= self.min_gain_per_epoch < math.inf:
            raise ConfigError(f"price: expected 0 or more, got {self.min_gain_per_epoch:g}")
        if not self.budget.epochs >= 1:
            raise ConfigError(
                f"budget_epochs: expected at least 1 epoch, got {self.budget.epochs:g}"
            )
        if not self.budget.seconds > 0:
            raise ConfigError(
                f"budget_hours: expected more than 0, got {self.budget.seconds / 3600:g}"
            )
        if self.final not in FINALS:
            raise ConfigError(unknown_name("value of final", self.final, FINALS))
        for name, value in (("register_as", self.register_as), ("alias", self.alias)):
            if any(c in value for c in "/:"):
                raise ConfigError(f"{name}: expected a name without '/' and ':', got {value!r}")
        plain = self.alias.replace("-", "").replace("_", "")
        if not plain.isalnum() or self.alias == "latest" or _is_version(self.alias):
            raise ConfigError(
                f"alias: expected letters, digits, '_' and '-', and neither 'latest' nor 'v1', "
                f"got {self.alias!r}"
            )


@dataclass(frozen=True)
class PlanConfig:
    """Say what a selection will cost and find, and what to benchmark next."""

    #: what is asked of the recommendation, and who may be considered
    recommend: RecommendConfig
    #: the target; None: a dataset like the recorded ones
    dataset: DatasetSpec | None = None
    #: stages of a curve; 0: as recorded
    stages: int = 0
    #: models that are trained at once
    workers: int = 1
    #: samples of the target that a probe looks at
    probe_samples: int = 500
    #: infinite: whatever it takes
    budget_epochs: float = math.inf
    budget_hours: float = math.inf
    #: cells to propose; 0: none
    next_cells: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("stages", self.stages, 0),
            ("workers", self.workers, 1),
            ("probe_samples", self.probe_samples, 1),
            ("next", self.next_cells, 0),
        ):
            if not value >= least:
                raise ConfigError(f"{name}: expected {least} or more, got {value:g}")
        for name, budget in (
            ("budget_epochs", self.budget_epochs),
            ("budget_hours", self.budget_hours),
        ):
            if not budget > 0:
                raise ConfigError(f"{name}: expected more than 0, got {budget:g}")

    @property
    def has_budget(self) -> bool:
        """Whether there is a budget at all."""
        return math.isfinite(self.budget_epochs) or math.isfinite(self.budget_hours)


def _check_wish(options: RecommendOptions, metric: str, tolerance: float | None) -> None:
    if options.recommender != "auto":
        get_recommender(options.recommender)
    if not 0 < options.confidence < 1:
        raise ConfigError(
            f"confidence: expected a share between 0 and 1, got {options.confidence:g}"
        )
    if options.top_k is not None and options.top_k < 0:
        raise ConfigError(f"top_k: expected at least 1, got {options.top_k}")
    if tolerance is None and metric in METRICS and not is_bounded(metric):
        raise ConfigError(
            f"tolerance: expected one in the unit of {metric}, which is not in [0, 1]: "
            "give --tolerance"
        )
    if not 0 <= options.tolerance < math.inf:
        raise ConfigError(f"tolerance: expected 0 or more, got {options.tolerance:g}")


def _is_version(alias: str) -> bool:
    return alias[:1] in "vV" and alias[1:].isdigit()
