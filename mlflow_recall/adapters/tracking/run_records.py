"""Tags and curves of runs -> records, in a store or in an export."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.core.external_runs.rules import MetricSource
from mlflow_recall.core.history.metrics import to_maximize
from mlflow_recall.core.history.records import Record


def adopted_curves(
    told: Mapping[str, str], metric: str
) -> tuple[list[float], list[float], list[float]]:
    """Validation, test and seconds by stage, from the tag of an adopted run; none without it."""
    with suppress(ValueError, TypeError, AttributeError):  # a tag that says nothing
        curves = json.loads(told.get(tags.CURVE, "{}"))
        validation, tested, seconds = (
            [float(value) for value in curves.get(key, ())]
            for key in (f"val/{metric}", f"test/{metric}", f"seconds/{metric}")
        )
        return validation, tested, seconds
    return [], [], []


def adopted_record(
    told: Mapping[str, str],
    source: MetricSource,
    metric: str,
    logged: Mapping[str, float],
    points: Callable[[str], Sequence[tuple[int, float]]],
    run_id: str,
) -> Record:
    """A run of somebody else's as a record: complete however long its curve is, for it FINISHED.

    Args:
        told: its tags.
        source: where it keeps the metric.
        metric: what the history calls it.
        logged: key -> last value.
        points: key -> step and value, in order of steps.
        run_id: its id.
    """
    validation, tested, seconds = adopted_curves(told, metric)
    last = source.validation_scale * logged.get(source.validation, math.nan)
    if source.validation and not (validation and ends_with(validation, last)):
        found = points(source.validation)
        validation = source.stages(found, source.validation_scale)
        tested, seconds = [], []
    sign = source.sign
    return Record(
        model=told[tags.MODEL],
        dataset=told.get(tags.DATASET, ""),
        validation_scores=tuple(sign * value for value in validation),
        final_score=sign * source.final_score(logged),
        test_scores=tuple(sign * value for value in tested),
        epochs=len(validation),
        seconds=tuple(seconds),
        modality=told.get(tags.MODALITY, ""),
        run_id=run_id,
    )


def ends_with(curve: list[float], value: float) -> bool:
    """Whether the last point of a told curve is the metric that was logged last."""
    return math.isclose(curve[-1], value, rel_tol=1e-9, abs_tol=1e-12)


def benchmark_record(
    told: Mapping[str, str],
    metric: str,
    validation: Sequence[float],
    tested: Sequence[float],
    seconds: Sequence[float],
    test: float,
    run_id: str,
) -> Record:
    """A record from tags and curves of a benchmark run, each in the metric's own direction.

    A test curve counts only where every stage was tested.
    """
    each, recipe = tested if len(tested) == len(validation) else (), told.get(tags.RECIPE, "")
    return Record(
        model=told[tags.MODEL],
        dataset=told.get(tags.DATASET, ""),
        validation_scores=tuple(to_maximize(metric, value) for value in validation),
        final_score=to_maximize(metric, test),
        test_scores=tuple(to_maximize(metric, value) for value in each),
        epochs=int(told.get(tags.EPOCHS, len(validation))),
        seconds=tuple(seconds),
        modality=told.get(tags.MODALITY, ""),
        dataset_digest=told.get(tags.DIGEST, ""),
        model_version=told.get(tags.MODEL_VERSION, ""),
        recipe=recipe,
        class_names=_names(told.get(tags.CLASSES, "")),
        dataset_spec=told.get(tags.SPEC, ""),
        run_id=run_id,
    )


def _names(told: str) -> tuple[str, ...]:
    """A tag that lists names; none where it was damaged."""
    with suppress(ValueError, TypeError):
        return tuple(str(name) for name in json.loads(told or "[]"))
    return ()


def distinct_datasets(records: list[Record]) -> list[Record]:
    """Two contents under one name are two datasets: the rarer ones carry their digest.

    Nobody knows the content of a dataset that adopted runs name; it is not ours of that name.
    """
    contents: dict[str, dict[str, int]] = {}
    for record in records:
        counts = contents.setdefault(record.dataset, {})
        counts[record.dataset_digest] = counts.get(record.dataset_digest, 0) + 1
    main = {name: max(counts, key=lambda d: counts[d]) for name, counts in contents.items()}
    return [
        record
        if record.dataset_digest == main[record.dataset]
        else replace(record, dataset=f"{record.dataset}@{record.dataset_digest[:6] or 'adopted'}")
        for record in records
    ]
