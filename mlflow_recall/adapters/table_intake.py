"""What plain tables hold, as the runs that a namespace would log of it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mlflow_recall.adapters.manifests import MODALITIES
from mlflow_recall.adapters.table_curves import FineTuning, RecordedCurve
from mlflow_recall.adapters.table_files import listed
from mlflow_recall.adapters.tables import FolderHistory
from mlflow_recall.core.conventions import minimized
from mlflow_recall.core.metrics import METRICS, bounded, oriented
from mlflow_recall.errors import HistoryError, SettingError

#: what a tracking server takes as the name of a metric
_NAME = re.compile(r"[\w./ :-]+", re.ASCII)
#: model, dataset, and which fine-tuning of that cell
Key: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True)
class Wanted:
    """Which of a folder's tables' metrics are taken in, and as what."""

    #: metric of the tables -> its name in the namespace; empty: all, by their own names
    metrics: Mapping[str, str] = field(default_factory=dict)
    #: metrics of the tables that are losses
    minimize: tuple[str, ...] = ()
    #: ``text`` or ``image``, for what the tables do not tell it of
    modality: str = ""
    #: metrics that are known to lie in [0, 1] are percentages in the tables
    percent: bool = False

    def __post_init__(self) -> None:
        if self.modality and self.modality not in MODALITIES:
            raise SettingError(
                f"modality: expected one of {', '.join(MODALITIES)}, got {self.modality!r}"
            )
        for name in self.metrics.values():
            if not _NAME.fullmatch(name):
                raise SettingError(
                    f"metric: expected a name of letters, digits and ./_-, got {name!r}: give it "
                    "another with --metric NAME=OTHER"
                )


@dataclass(frozen=True)
class Points:
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


def fine_tunings(tables: FolderHistory, wanted: Wanted) -> dict[Key, dict[str, Points]]:
    """Every fine-tuning that has a final score, with its metrics by their new names.

    Raises:
        HistoryError: a metric is unknown, would change its direction, or is out of its range.
    """
    found: dict[Key, dict[str, Points]] = {}
    for metric, name in _names(tables, wanted).items():
        sign = -1.0 if tables.is_loss(metric) else 1.0
        scale = sign * (0.01 if wanted.percent and bounded(name) else 1.0)
        loss = _is_loss(tables, metric, name, wanted)
        count: dict[tuple[str, str], int] = {}
        for each in tables.fine_tunings(metric):
            if math.isnan(each.value):
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


def _names(tables: FolderHistory, wanted: Wanted) -> dict[str, str]:
    """Metric of the tables -> its name in the namespace."""
    names = dict(wanted.metrics) or {metric: metric for metric in tables.metrics()}
    for name in names.values():
        same = sorted(metric for metric, other in names.items() if other == name)
        if len(same) > 1:
            raise HistoryError(
                f"metric {name!r}: expected one metric of the tables, got {listed(same)}: name "
                "one, or several with --metric NAME=OTHER"
            )
        if not _NAME.fullmatch(name):
            raise HistoryError(
                f"metric {name!r}: expected letters, digits and ./_-: give it another name with "
                f"--metric '{name}'=OTHER"
            )
    return names


def _is_loss(tables: FolderHistory, metric: str, name: str, wanted: Wanted) -> bool:
    """Whether lower is better; the direction survives the change of name."""
    named = metric in wanted.minimize
    if name in METRICS:
        lower = oriented(name, 1.0) < 0
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
    if not named and minimized(metric):
        raise HistoryError(
            f"metric {metric!r}: expected to be told whether lower is better, as its name says: "
            f"name it with --minimize {metric}, or give it the name of a score with "
            f"--metric '{metric}'=OTHER"
        )
    return named or tables.is_loss(metric)


def _points(each: FineTuning, scale: float, loss: bool) -> Points:
    validation = _scaled(each.validation, scale)
    if each.ends_tested:
        return Points(validation, _scaled(each.tested, scale), loss)
    last = validation[-1][0] if validation else 0.0
    return Points(validation, ((last, scale * each.value),), loss)


def _scaled(curve: RecordedCurve | None, scale: float) -> tuple[tuple[float, float], ...]:
    if curve is None:
        return ()
    return tuple(
        (step, scale * value) for step, value in zip(curve.steps, curve.values, strict=True)
    )


def _check_range(name: str, points: Points, cell: tuple[str, str], label: str) -> None:
    if not bounded(name):
        return
    for _, value in (*points.test, *points.validation):
        if not 0 <= value <= 1:
            raise HistoryError(
                f"{label}: expected values in [0, 1], got {value:g} for {cell[0]} on {cell[1]}: "
                "give --percent for percentages, or another name with --metric NAME=OTHER"
            )


def titles_of(found: Iterable[Key]) -> dict[str, str]:
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


def modality_of(tables: FolderHistory, key: Key, wanted: Wanted) -> str:
    """Of a fine-tuning, as the features of its dataset or model tell it.

    Raises:
        SettingError: nobody tells it, or it is none that models have here.
    """
    told = tables.modality(key[0], key[1]) or wanted.modality
    if told not in MODALITIES:
        raise SettingError(
            f"modality: expected text or image in datasets or models, got {told or 'none'!r} for "
            f"{key[0]} on {key[1]}: give --modality"
        )
    return told


def missing(
    found: Mapping[Key, Mapping[str, Points]],
    known: Mapping[Key, Mapping[str, str]],
    titles: Mapping[str, str],
) -> dict[Key, dict[str, Points]]:
    """What was not imported before.

    Args:
        found: of the tables.
        known: title of the model, dataset and run -> metric -> digest.
        titles: model of the tables -> title.

    Raises:
        HistoryError: a fine-tuning has other values than it had then.
    """
    new: dict[Key, dict[str, Points]] = {}
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
            f"{listed(changed)}: delete these runs, or import into another --namespace"
        )
    return new
