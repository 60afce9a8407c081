"""How single runs of somebody else's are read: rules, and what they make of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.errors import ConfigError, unknown_name

KEEP_CHOICES = ("best", "last", "all")


@dataclass(frozen=True)
class MetricSource:
    """Where a run of somebody else's keeps one metric of ours."""

    #: key of its validation curve; empty: only a final score was logged
    validation: str = ""
    #: key of its test score; empty: the last validation score stands for it
    test: str = ""
    #: what values are multiplied with: 0.01 for percent
    validation_scale: float = 1.0
    test_scale: float = 1.0
    #: lower is better
    minimize: bool = False
    #: longer curves are thinned to one stage an epoch; 0: as they are
    epochs: int = 0

    @property
    def sign(self) -> float:
        """What turns a value so that higher is better."""
        return -1.0 if self.minimize else 1.0

    def final_score(self, metrics: Mapping[str, float]) -> float:
        """The final score among a run's last values, scaled, in the metric's own direction."""
        if self.test:
            return self.test_scale * metrics.get(self.test, math.nan)
        return self.validation_scale * metrics.get(self.validation, math.nan)

    def stages(self, points: Sequence[tuple[int, float]], scale: float) -> list[float]:
        """Step and value, in order of steps -> one scaled value a stage.

        A curve with more points than epochs keeps of each epoch the last one, where an epoch is
        an equal share of the steps. The last point is always kept.
        """
        if 1 < self.epochs < len(points):
            last, kept = points[-1][0], {}
            for step, value in points:
                epoch = math.ceil(step * self.epochs / last - 1e-9) if last > 0 else self.epochs
                kept[epoch] = value
            kept.pop(0, None)  # evaluated before the first step
            return [scale * value for value in kept.values()]
        return [scale * value for _, value in points]


def sources_to_json(sources: Mapping[str, MetricSource]) -> str:
    """Metric -> source as one tag; what is as by default is left out."""
    short = {
        metric: {k: v for k, v in asdict(source).items() if v != getattr(MetricSource(), k)}
        for metric, source in sources.items()
    }
    return json.dumps(short, sort_keys=True)


def sources_from_json(text: str) -> dict[str, MetricSource]:
    """The inverse of ``sources_to_json``; empty for a tag that says nothing."""
    try:
        return {str(metric): MetricSource(**told) for metric, told in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


@dataclass(frozen=True)
class ImportRules:
    """How runs are read; what is empty is guessed. Of several keys, a run's first one counts."""

    model: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    #: metric keys
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    #: what the history calls the metric
    metric: str = ""
    minimize: bool | None = None
    modality: str = ""
    #: of several configurations of one cell: ``best`` by validation, ``last`` or ``all``
    keep: str = "best"
    #: params, beside the incidental ones, that may differ between repeats
    ignore: tuple[str, ...] = ()
    #: what a run says -> what the history calls it
    models: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    #: a run without one of the ``test`` keys is left out, for they were named by a person
    test_needed: bool = False

    def __post_init__(self) -> None:
        if self.keep not in KEEP_CHOICES:
            raise ConfigError(unknown_name("value of keep", self.keep, KEEP_CHOICES))


@dataclass(frozen=True)
class KnownModel:
    """A registered model that runs may be about."""

    name: str
    #: as ``hf:/org/name@revision``
    source: str = ""
    modality: str = ""


@dataclass(frozen=True)
class InterpretedRun:
    """One run, understood."""

    run: LoggedRun
    model: str
    dataset: str
    modality: str
    source: MetricSource
    #: what the run itself calls its model
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
