"""What plain tables hold, as the runs that a namespace would log of it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mlflow_recall.adapters.manifests.yaml_files import MODALITIES
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tables.recorded_curves import FineTuning, RecordedCurve
from mlflow_recall.adapters.tables.table_files import list_names
from mlflow_recall.core.external_runs.logging_conventions import is_minimized
from mlflow_recall.core.history.metrics import METRICS, is_bounded, to_maximize
from mlflow_recall.errors import ConfigError, HistoryError

#: what a tracking server takes as the name of a metric
_NAME = re.compile(r"[\w./ :-]+", re.ASCII)
#: model, dataset, and which fine-tuning of that cell
FineTuningKey: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True)
class ImportOptions:
    """Which of a folder's tables' metrics are taken in, and as what."""

    #: metric of the tables -> its name in the namespace; empty: all, by their own names
    metrics: Mapping[str, str] = field(default_factory=dict)
    #: metrics of the tables that are losses
    minimize: tuple[str, ...] = ()
    #: ``text`` or ``image``, for what the tables do not tell it of
    modality: str | None = None
    #: metrics that are known to lie in [0, 1] are percentages in the tables
    percent: bool = False

    def __post_init__(self) -> None:
        if self.modality and self.modality not in MODALITIES:
            raise ConfigError(
                f"modality: expected one of {', '.join(MODALITIES)}, got {self.modality!r}"
            )
        for name in self.metrics.values():
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"metric: expected a name of letters, digits and ./_-, got {name!r}: give it "
                    "another with --metric NAME=OTHER"
                )


@dataclass(frozen=True)
class MetricPoints:
    """What one metric of one fine-tuning was, in its own direction."""

    validation: tuple[tuple[float, float], ...]
    #: the final score is the last; earlier ones where each stage was tested
    test: tuple[tuple[float, float], ...]
    minimize: bool

    @property
    def digest(self) -> str:
        """Twelve characters that change when any value does."""
        text = json.dumps([self.validation, self.test, self.minimize])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def collect_fine_tunings(
    tables: FolderHistory, wanted: ImportOptions
) -> dict[FineTuningKey, dict[str, MetricPoints]]:
    """Every fine-tuning that has a final score, with its metrics by their new names.

    Raises:
        HistoryError: a metric is unknown, would change its direction, or is out of its range.
    """
    found: dict[FineTuningKey, dict[str, MetricPoints]] = {}
    for metric, name in _names(tables, wanted).items():
        sign = -1.0 if tables.is_loss(metric) else 1.0
        scale = sign * (0.01 if wanted.percent and is_bounded(name) else 1.0)
        loss = _is_loss(tables, metric, name, wanted)
        count: dict[tuple[str, str], int] = {}
        for each in tables.fine_tunings(metric):
            if math.isnan(each.final_score):
                continue
            cell = each.model, each.dataset
            count[cell] = count.get(cell, 0) + 1
            key = (*cell, each.run or str(count[cell]))
            points = _points(each, scale, loss)
            _check_range(name, points, cell, f"{metric} as {name}")
            if name in found.setdefault(key, {}):
                raise HistoryError(
                    f"matrix: expected {metric} of run {key[2]} of {cell[0]} on {cell[1]} once, "
                    "got it twice: tell repeats apart in the column run"
                )
            found[key][name] = points
    if not found:
        raise HistoryError("matrix: expected rows with a value, got none")
    return found


def _names(tables: FolderHistory, wanted: ImportOptions) -> dict[str, str]:
    """Metric of the tables -> its name in the namespace."""
    names = dict(wanted.metrics) or {metric: metric for metric in tables.metrics()}
    for name in names.values():
        same = sorted(metric for metric, other in names.items() if other == name)
        if len(same) > 1:
            raise HistoryError(
                f"metric {name!r}: expected one metric of the tables, got {list_names(same)}: name "
                "one, or several with --metric NAME=OTHER"
            )
        if not _NAME.fullmatch(name):
            raise HistoryError(
                f"metric {name!r}: expected letters, digits and ./_-: give it another name with "
                f"--metric '{name}'=OTHER"
            )
    return names


def _is_loss(tables: FolderHistory, metric: str, name: str, wanted: ImportOptions) -> bool:
    """Whether lower is better; the direction survives the change of name."""
    named = metric in wanted.minimize
    if name in METRICS:
        lower = to_maximize(name, 1.0) < 0
        if named and not lower:
            raise HistoryError(
                f"metric {metric!r}: expected a score to take in as {name}, got a loss: mixed "
                "directions; leave it out of --minimize, or give it a name of its own"
            )
        if tables.is_loss(metric) and not lower:
            raise HistoryError(
                f"metric {metric!r}: expected a score to take in as {name}, got a loss: mixed "
                "directions; give it a name of its own"
            )
        return lower
    if not named and is_minimized(metric):
        raise HistoryError(
            f"metric {metric!r}: expected to be told whether lower is better, as its name says: "
            f"name it with --minimize {metric}, or give it the name of a score with "
            f"--metric '{metric}'=OTHER"
        )
    return named or tables.is_loss(metric)


def _points(each: FineTuning, scale: float, loss: bool) -> MetricPoints:
    validation = _scaled(each.validation_curve, scale)
    if each.ends_with_test:
        return MetricPoints(validation, _scaled(each.test_curve, scale), loss)
    last = validation[-1][0] if validation else 0.0
    return MetricPoints(validation, ((last, scale * each.final_score),), loss)


def _scaled(curve: RecordedCurve | None, scale: float) -> tuple[tuple[float, float], ...]:
    if curve is None:
        return ()
    return tuple(
        (step, scale * value) for step, value in zip(curve.steps, curve.values, strict=True)
    )


def _check_range(name: str, points: MetricPoints, cell: tuple[str, str], label: str) -> None:
    if not is_bounded(name):
        return
    for _, value in (*points.test, *points.validation):
        if not 0 <= value <= 1:
            raise HistoryError(
                f"{label}: expected values in [0, 1], got {value:g} for {cell[0]} on {cell[1]}: "
                "give --percent for percentages, or another name with --metric NAME=OTHER"
            )


def registry_titles(found: Iterable[FineTuningKey]) -> dict[str, str]:
    """Model of the tables -> its name in a registry, which knows no ``/`` and no ``:``.

    Raises:
        HistoryError: two models would go by one name.
    """
    models = {model for model, _, _ in found}
    titles = {m: m.strip("/").replace("/", "--").replace(":", "--") for m in sorted(models)}
    by_title: dict[str, str] = {}
    for model, title in titles.items():
        if (other := by_title.setdefault(title, model)) != model:
            raise HistoryError(
                f"models: expected names that differ in a registry, got {other!r} and {model!r}, "
                f"which are both {title!r} there: rename one in the tables"
            )
    return titles


def find_modality(tables: FolderHistory, key: FineTuningKey, wanted: ImportOptions) -> str:
    """Of a fine-tuning, as the features of its dataset or model tell it.

    Raises:
        SettingError: nobody tells it, or it is none that models have here.
    """
    told = tables.modality(key[0], key[1]) or wanted.modality
    if told not in MODALITIES:
        raise ConfigError(
            f"modality: expected text or image in datasets or models, got {told or 'none'!r} for "
            f"{key[0]} on {key[1]}: give --modality"
        )
    return told


def select_new(
    found: Mapping[FineTuningKey, Mapping[str, MetricPoints]],
    known: Mapping[FineTuningKey, Mapping[str, str]],
    titles: Mapping[str, str],
) -> dict[FineTuningKey, dict[str, MetricPoints]]:
    """What was not imported before.

    Args:
        found: of the tables.
        known: title of the model, dataset and run -> metric -> digest.
        titles: model of the tables -> title.

    Raises:
        HistoryError: a fine-tuning has other values than it had then.
    """
    new: dict[FineTuningKey, dict[str, MetricPoints]] = {}
    changed = []
    for key, metrics in found.items():
        there = known.get((titles[key[0]], key[1], key[2]), {})
        for name, points in metrics.items():
            if name not in there:
                new.setdefault(key, {})[name] = points
            elif there[name] != points.digest:
                changed.append(f"{name} of {key[0]} on {key[1]}")
    if changed:
        raise HistoryError(
            f"import: expected what was imported before to stay as it was, got other values of "
            f"{list_names(changed)}: delete these runs, or import into another --namespace"
        )
    return new
