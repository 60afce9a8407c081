"""The content of plain tables as fine-tunings to import: checked, renamed and scaled."""

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
from mlflow_recall.core.external_runs.logging_conventions import is_minimized
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.metrics import METRICS, is_bounded, to_maximize
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.errors import ConfigError, HistoryError

#: names of metrics that a tracking server accepts
_METRIC_NAME = re.compile(r"[\w./ :-]+", re.ASCII)
#: model, dataset, and name of the fine-tuning among the repeats of that cell
FineTuningKey: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True)
class ImportOptions:
    """Which metrics of a folder of tables are imported, and how."""

    #: metric of the tables -> its name in the namespace; empty: all, by their own names
    metrics: Mapping[str, str] = field(default_factory=dict)
    #: metrics of the tables that are losses
    minimize: tuple[str, ...] = ()
    #: ``text`` or ``image``, where the tables do not say it; None: they say it
    modality: str | None = None
    #: whether metrics that are known to lie in [0, 1] are percentages in the tables
    percent: bool = False

    def __post_init__(self) -> None:
        if self.modality and self.modality not in MODALITIES:
            raise ConfigError(
                f"modality: expected one of {', '.join(MODALITIES)}, got {self.modality!r}"
            )
        for name in self.metrics.values():
            if not _METRIC_NAME.fullmatch(name) or name == PRIMARY:
                raise ConfigError(
                    f"metric: expected a name of letters, digits and ./_- other than {PRIMARY}, "
                    f"got {name!r}: give it another with --metric NAME=OTHER"
                )


@dataclass(frozen=True)
class MetricPoints:
    """Steps and values of one metric of one fine-tuning, in the metric's own direction."""

    validation: tuple[tuple[float, float], ...]
    #: the last point is the final score; the others are there where each stage was tested
    test: tuple[tuple[float, float], ...]
    #: whether lower is better
    minimize: bool

    @property
    def digest(self) -> str:
        """Twelve characters that change when any value changes."""
        text = json.dumps([self.validation, self.test, self.minimize])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def collect_fine_tunings(
    tables: FolderHistory, options: ImportOptions
) -> dict[FineTuningKey, dict[str, MetricPoints]]:
    """Return every fine-tuning that has a final score, with its metrics by their new names.

    Raises:
        HistoryError: A metric is unknown, would change its direction, or is out of its range.
    """
    fine_tunings: dict[FineTuningKey, dict[str, MetricPoints]] = {}
    for metric, name in _metric_names(tables, options).items():
        sign = -1.0 if tables.is_loss(metric) else 1.0
        scale = sign * (0.01 if options.percent and is_bounded(name) else 1.0)
        minimize = _is_loss(tables, metric, name, options)
        counts: dict[tuple[str, str], int] = {}
        for fine_tuning in tables.fine_tunings(metric):
            if math.isnan(fine_tuning.final_score):
                continue
            cell = fine_tuning.model, fine_tuning.dataset
            counts[cell] = counts.get(cell, 0) + 1
            key = (*cell, fine_tuning.run or str(counts[cell]))
            points = _points(fine_tuning, scale, minimize=minimize)
            _check_range(name, points, cell, f"{metric} as {name}")
            if name in fine_tunings.setdefault(key, {}):
                raise HistoryError(
                    f"matrix: expected {metric} of run {key[2]} of {cell[0]} on {cell[1]} once, "
                    "got it twice: tell repeats apart in the column run"
                )
            fine_tunings[key][name] = points
    if not fine_tunings:
        raise HistoryError("matrix: expected rows with a value, got none")
    return fine_tunings


def _metric_names(tables: FolderHistory, options: ImportOptions) -> dict[str, str]:
    """Return metric of the tables -> its name in the namespace."""
    names = dict(options.metrics) or {metric: metric for metric in tables.metrics()}
    for name in names.values():
        renamed = sorted(metric for metric, other in names.items() if other == name)
        if len(renamed) > 1:
            raise HistoryError(
                f"metric {name!r}: expected one metric of the tables, got {join_names(renamed)}: "
                "name one, or several with --metric NAME=OTHER"
            )
        if not _METRIC_NAME.fullmatch(name) or name == PRIMARY:
            raise HistoryError(
                f"metric {name!r}: expected letters, digits and ./_-, and not {PRIMARY}: give it "
                f"another name with --metric '{name}'=OTHER"
            )
    return names


def named_primary_metrics(tables: FolderHistory, options: ImportOptions) -> dict[str, str]:
    """Return dataset -> the primary metric that the tables name, by its name in the namespace."""
    names = _metric_names(tables, options)
    column = tables.dataset_features().get("metric", {})
    return {dataset: names[str(name)] for dataset, name in column.items() if name in names}


def _is_loss(tables: FolderHistory, metric: str, name: str, options: ImportOptions) -> bool:
    """Return whether lower is better; a new name does not change the direction."""
    is_named_loss = metric in options.minimize
    if name in METRICS:
        is_known_loss = to_maximize(name, 1.0) < 0
        if is_named_loss and not is_known_loss:
            raise HistoryError(
                f"metric {metric!r}: expected a score to import as {name}, got a loss: mixed "
                "directions; leave it out of --minimize, or give it a name of its own"
            )
        if tables.is_loss(metric) and not is_known_loss:
            raise HistoryError(
                f"metric {metric!r}: expected a score to import as {name}, got a loss: mixed "
                "directions; give it a name of its own"
            )
        return is_known_loss
    if not is_named_loss and is_minimized(metric):
        raise HistoryError(
            f"metric {metric!r}: expected to know whether lower is better, got only a name that "
            f"says so: name it with --minimize {metric}, or give it the name of a score with "
            f"--metric '{metric}'=OTHER"
        )
    return is_named_loss or tables.is_loss(metric)


def _points(fine_tuning: FineTuning, scale: float, *, minimize: bool) -> MetricPoints:
    validation = _scale_curve(fine_tuning.validation_curve, scale)
    if fine_tuning.ends_with_test:
        return MetricPoints(validation, _scale_curve(fine_tuning.test_curve, scale), minimize)
    last_step = validation[-1][0] if validation else 0.0
    return MetricPoints(validation, ((last_step, scale * fine_tuning.final_score),), minimize)


def _scale_curve(curve: RecordedCurve | None, scale: float) -> tuple[tuple[float, float], ...]:
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


def registry_titles(keys: Iterable[FineTuningKey]) -> dict[str, str]:
    """Return model of the tables -> its name in a registry, which allows no ``/`` and no ``:``.

    Raises:
        HistoryError: Two models would have one name.
    """
    models = {model for model, _, _ in keys}
    titles = {m: m.strip("/").replace("/", "--").replace(":", "--") for m in sorted(models)}
    by_title: dict[str, str] = {}
    for model, title in titles.items():
        if (other := by_title.setdefault(title, model)) != model:
            raise HistoryError(
                f"models: expected names that differ in a registry, got {other!r} and {model!r}, "
                f"which are both {title!r} there: rename one in the tables"
            )
    return titles


def find_modality(tables: FolderHistory, key: FineTuningKey, options: ImportOptions) -> str:
    """Return the modality of a fine-tuning, from the features of its dataset or model.

    Raises:
        ConfigError: Neither the tables nor the options say it, or it is unknown.
    """
    modality = tables.modality(key[0], key[1]) or options.modality
    if modality not in MODALITIES:
        raise ConfigError(
            f"modality: expected text or image in datasets or models, got {modality or 'none'!r} "
            f"for {key[0]} on {key[1]}: give --modality"
        )
    return modality


def select_new(
    fine_tunings: Mapping[FineTuningKey, Mapping[str, MetricPoints]],
    known: Mapping[FineTuningKey, Mapping[str, str]],
    titles: Mapping[str, str],
) -> dict[FineTuningKey, dict[str, MetricPoints]]:
    """Return what was not imported before.

    Args:
        fine_tunings: Fine-tunings of the tables.
        known: Title of the model, dataset and run -> metric -> digest.
        titles: Model of the tables -> title.

    Raises:
        HistoryError: A fine-tuning has other values than it had at its import.
    """
    new: dict[FineTuningKey, dict[str, MetricPoints]] = {}
    changed = []
    for key, metrics in fine_tunings.items():
        digests = known.get((titles[key[0]], key[1], key[2]), {})
        for name, points in metrics.items():
            if name not in digests:
                new.setdefault(key, {})[name] = points
            elif digests[name] != points.digest:
                changed.append(f"{name} of {key[0]} on {key[1]}")
    if changed:
        raise HistoryError(
            f"import: expected what was imported before to stay as it was, got other values of "
            f"{join_names(changed)}: delete these runs, or import into another --namespace"
        )
    return new
