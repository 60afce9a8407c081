"""Settings of each command: frozen, and valid once they exist."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow_recall.adapters.datasets import DatasetSpec
from mlflow_recall.core.metrics import bounded, check_metric
from mlflow_recall.core.policies import policy
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.core.recommend import recommender
from mlflow_recall.core.scores import SCORES
from mlflow_recall.errors import SettingError, unknown

FINALS = ("auto", "full", "same")


@dataclass(frozen=True)
class BenchmarkConfig:
    """Fine-tune every missing cell of models x datasets."""

    datasets: tuple[DatasetSpec, ...]
    #: names or shell patterns of models; empty: all
    models: tuple[str, ...] = ()
    #: fields of a recipe that differ from the family's default
    recipe: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Recipe().altered(self.recipe, "options")


@dataclass(frozen=True)
class ClusterConfig:
    """Cluster the models of a history."""

    metric: str = "accuracy"
    modality: str = ""
    method: str = "hierarchical"
    cut: float | None = None
    clusters: int | None = None
    top: int = 5
    drop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.cut is not None and self.clusters is not None:
            raise SettingError("cut and clusters: expected one of them, got both")


@dataclass(frozen=True)
class RecallConfig:
    """Rank the models of a zoo for a dataset, and keep the best K."""

    dataset: DatasetSpec
    metric: str = "accuracy"
    recommender: str = "interleaved"
    score: str = "auto"
    #: 0: five, or all where there are fewer
    top_k: int = 0
    #: gap to the best that does not matter; 0.01 for metrics in [0, 1]
    tolerance: float | None = None
    #: samples of the target that a probe looks at
    probe_samples: int = 500
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_metric(self.metric)
        recommender(self.recommender)
        if self.score != "auto" and self.score not in SCORES:
            raise SettingError(unknown("score", self.score, {"auto", *SCORES}))
        if self.top_k < 0:
            raise SettingError(f"top_k: expected at least 1, got {self.top_k}")
        if self.tolerance is None and not bounded(self.metric):
            raise SettingError(
                f"tolerance: expected one in the unit of {self.metric}, which is not in [0, 1]: "
                "give --tolerance"
            )
        if not 0 <= self.allowed_gap < math.inf:
            raise SettingError(f"tolerance: expected 0 or more, got {self.tolerance:g}")

    @property
    def allowed_gap(self) -> float:
        """The tolerance, or its default."""
        return 0.01 if self.tolerance is None else self.tolerance


@dataclass(frozen=True)
class SelectConfig:
    """Recall K models, fine-tune them in stages, register the winner."""

    recall: RecallConfig
    policy: str = "fine_selection"
    #: share by which a rival must be foretold to end higher
    threshold: float = 0.0
    #: name of the registered winner; empty: the dataset's
    register_as: str = ""
    alias: str = "winner"
    final: str = "auto"
    #: fields of the recipe that differ from the history's; any of them turns trends off
    recipe: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        policy(self.policy)
        Recipe().altered(self.recipe, "options")
        if not 0 <= self.threshold < 1:
            raise SettingError(f"threshold: expected a share in [0, 1), got {self.threshold:g}")
        if self.final not in FINALS:
            raise SettingError(unknown("value of final", self.final, FINALS))
        for name, value in (("register_as", self.register_as), ("alias", self.alias)):
            if any(c in value for c in "/:"):
                raise SettingError(f"{name}: expected a name without '/' and ':', got {value!r}")
        plain = self.alias.replace("-", "").replace("_", "")
        if not plain.isalnum() or self.alias == "latest" or _is_version(self.alias):
            raise SettingError(
                f"alias: expected letters, digits, '_' and '-', and neither 'latest' nor 'v1', "
                f"got {self.alias!r}"
            )


def _is_version(alias: str) -> bool:
    return alias[:1] in "vV" and alias[1:].isdigit()
