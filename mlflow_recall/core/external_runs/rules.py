"""How single runs of other training code are read: the rules, and a run read by them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mlflow_recall.bounded_json import parse_json
from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.core.external_runs.units import UNITS
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.errors import ConfigError, unknown_name

#: ways to choose between several configurations of one cell
KEEP_CHOICES = ("best", "last", "all")


@dataclass(frozen=True, kw_only=True)
class MetricSource:
    """Where a run of other training code keeps the scores of one metric."""

    #: key of its validation curve; empty: only a final score was logged
    validation: str = ""
    #: key of its test score; empty: the last validation score stands for it
    test: str = ""
    #: factors of the values: 0.01 for percent
    validation_scale: float = 1.0
    test_scale: float = 1.0
    #: whether lower is better
    minimize: bool = False
    #: number of epochs, to which longer curves are thinned; 0: curves stay as they are
    epochs: int = 0
    #: whether the validation key is a curve; otherwise it is a final score alone
    has_curve: bool = True

    @property
    def sign(self) -> float:
        """Factor that makes a higher value better: -1 for a loss, else 1."""
        return -1.0 if self.minimize else 1.0

    def final_score(self, metrics: Mapping[str, float]) -> float:
        """Return the final score of a run, scaled, in the metric's own direction.

        Args:
            metrics: Metric key -> its last value in the run.
        """
        if self.test:
            return self.test_scale * metrics.get(self.test, math.nan)
        return self.validation_scale * metrics.get(self.validation, math.nan)

    def stages(self, points: Sequence[tuple[int, float]], scale: float) -> list[float]:
        """Return one scaled value for each stage.

        A curve with more points than epochs keeps the last point of each epoch, where an epoch is
        an equal share of the steps. The last point is always kept. There are no stages without a
        curve.

        Args:
            points: Steps and values, in order of the steps.
            scale: Factor of the values.

        Example:
            >>> source = MetricSource(validation="eval_acc", epochs=2)
            >>> source.stages([(1, 20), (2, 30), (4, 50)], 0.01)
            [0.3, 0.5]
        """
        if not self.has_curve:
            return []
        if 1 < self.epochs < len(points):
            last_step, by_epoch = points[-1][0], {}
            for step, value in points:
                epoch = self.epochs
                if last_step > 0:
                    epoch = math.ceil(step * self.epochs / last_step - 1e-9)
                by_epoch[epoch] = value
            by_epoch.pop(0, None)  # evaluated before the first step
            return [scale * value for value in by_epoch.values()]
        return [scale * value for _, value in points]


def compare_by_one_split(sources: Sequence[tuple[str, MetricSource]]) -> list[MetricSource]:
    """Return the sources by which the runs of each dataset are compared.

    A test score of one model and a validation score of another would not compare. So where some run
    on a dataset has no test score, the last validation score is used in every run that has one.

    Args:
        sources: Dataset and source of each run.
    """
    untested = {dataset for dataset, source in sources if not source.test}
    return [
        replace(source, test="", test_scale=1.0)
        if dataset in untested and source.validation
        else source
        for dataset, source in sources
    ]


def sources_to_json(sources: Mapping[str, MetricSource]) -> str:
    """Return the text of a tag for metric -> source; values that equal the default are left out."""
    non_default = {
        metric: {k: v for k, v in asdict(source).items() if v != getattr(MetricSource(), k)}
        for metric, source in sources.items()
    }
    return json.dumps(non_default, sort_keys=True)


def sources_from_json(text: str) -> dict[str, MetricSource]:
    """Read what ``sources_to_json`` wrote; empty where the text is something else."""
    try:
        return {metric: _source(values) for metric, values in parse_json(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _source(values: Mapping[str, Any]) -> MetricSource:
    """Return a source from JSON.

    Raises:
        ValueError: A value has another type than its field, or is no finite number.
    """
    source = MetricSource(**values)
    for name, default in vars(MetricSource()).items():
        value = getattr(source, name)
        kinds = (int, float) if isinstance(default, float) else (type(default),)
        if type(value) not in kinds or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(name)
    return source


@dataclass(frozen=True, kw_only=True)
class ImportRules:
    """How the runs of one experiment are read; empty fields are inferred from them.

    Where a field has several keys, the first one that a run has counts.
    """

    #: keys of the model's and the dataset's name, such as ``params.model_name``
    model: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    #: metric keys of the validation and test scores
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    #: name of the metric in the history
    metric: str = ""
    #: whether lower is better; None: inferred
    minimize: bool | None = None
    #: unit of scores that are at most 1 by definition: ``percent`` or ``fraction``
    unit: str = ""
    #: metric key -> its unit, where there is one
    units: Mapping[str, str] = field(default_factory=dict)
    modality: str = ""
    #: of several configurations of one cell: ``best`` by validation, ``last`` or ``all``
    keep: str = "best"
    #: params, beside the incidental ones, that may differ between repeats
    ignore: tuple[str, ...] = ()
    #: name in a run -> name in the history
    models: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    #: whether runs without one of the ``test`` keys are left out, since the user named the keys
    test_needed: bool = False

    def __post_init__(self) -> None:
        if self.keep not in KEEP_CHOICES:
            raise ConfigError(unknown_name("value of keep", self.keep, KEEP_CHOICES))
        if self.metric == PRIMARY:
            raise ConfigError(
                f"metric: expected the name of one metric, got {PRIMARY!r}, which stands for that "
                "of each dataset: give it another name with --metric"
            )
        if self.unit and self.unit not in UNITS:
            raise ConfigError(unknown_name("unit", self.unit, UNITS))


@dataclass(frozen=True)
class KnownModel:
    """A registered model that runs may have trained."""

    name: str
    #: where its weights come from, such as ``hf:/org/name@revision``; empty: unknown
    source: str = ""
    modality: str = ""


@dataclass(frozen=True, kw_only=True)
class InterpretedRun:
    """One run as the rules read it."""

    run: LoggedRun
    model: str
    dataset: str
    modality: str
    source: MetricSource
    #: name of the model in the run itself
    raw_model: str
    is_registered: bool

    @property
    def cell(self) -> tuple[str, str]:
        """Model and dataset."""
        return self.model, self.dataset

    @property
    def final_score(self) -> float:
        """Final score, higher is better."""
        return self.source.sign * self.source.final_score(self.run.metrics)

    @property
    def validation_score(self) -> float:
        """Last validation score, higher is better; the final one where there is no curve."""
        if not self.source.validation:
            return self.final_score
        return self.source.sign * (
            self.source.validation_scale * self.run.metrics[self.source.validation]
        )
