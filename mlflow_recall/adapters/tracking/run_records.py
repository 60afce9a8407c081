"""Records from tags and curves of runs, which come from a store or from an export."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.bounded_json import parse_json
from mlflow_recall.core.external_runs.rules import MetricSource
from mlflow_recall.core.history.metrics import METRICS, to_maximize
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.tasks import CLASSIFICATION, TASKS


def adopted_curves(
    run_tags: Mapping[str, str], metric: str
) -> tuple[list[float], list[float], list[float]]:
    """Return validation scores, test scores and seconds by stage, from the tag of an adopted run.

    All are empty where the tag is absent or damaged.
    """
    with suppress(ValueError, TypeError, AttributeError, OverflowError):
        curves = parse_json(run_tags.get(tags.CURVE, "{}"))
        validation, test, seconds = (
            [float(value) for value in curves.get(key, ())]
            for key in (f"val/{metric}", f"test/{metric}", f"seconds/{metric}")
        )
        return validation, test, seconds
    return [], [], []


def adopted_record(
    run_tags: Mapping[str, str],
    source: MetricSource,
    metric: str,
    logged: Mapping[str, float],
    points: Callable[[str], Sequence[tuple[int, float]]],
    run_id: str,
) -> Record:
    """Return an adopted run as a record.

    The run is FINISHED, so its record is complete, whatever the length of its curve.

    Args:
        run_tags: Tags of the run.
        source: Where the run keeps the metric.
        metric: Name of the metric in the history.
        logged: Key -> last value.
        points: Key -> steps and values, in the order of the steps.
        run_id: Id of the run.
    """
    validation, test, seconds = adopted_curves(run_tags, metric)
    last = source.validation_scale * logged.get(source.validation, math.nan)
    if source.validation and not (validation and ends_with(validation, last)):
        validation = source.stages(points(source.validation), source.validation_scale)
        test, seconds = [], []
    sign = source.sign
    return Record(
        model=run_tags[tags.MODEL],
        dataset=run_tags.get(tags.DATASET, ""),
        validation_scores=tuple(sign * value for value in validation),
        final_score=sign * source.final_score(logged),
        test_scores=tuple(sign * value for value in test if source.test),
        epochs=len(validation),
        seconds=tuple(seconds),
        modality=run_tags.get(tags.MODALITY, ""),
        task=_read_task(run_tags, _task_of(metric)),
        metric=metric,
        run_id=run_id,
    )


def ends_with(curve: list[float], value: float) -> bool:
    """Return whether the last value of a curve is the given one, up to rounding."""
    return math.isclose(curve[-1], value, rel_tol=1e-9, abs_tol=1e-12)


def benchmark_record(
    run_tags: Mapping[str, str],
    metric: str,
    validation: Sequence[float],
    test: Sequence[float],
    seconds: Sequence[float],
    final_score: float,
    run_id: str,
) -> Record:
    """Return a benchmark run as a record.

    Args:
        run_tags: Tags of the run.
        metric: Name of the metric.
        validation: Validation scores by stage, in the metric's own direction.
        test: Test scores in the same direction, which count only if every stage has one.
        seconds: Seconds of each stage.
        final_score: Last test score in the same direction; NaN where there is none.
        run_id: Id of the run.
    """
    test_scores = test if len(test) == len(validation) else ()
    return Record(
        model=run_tags[tags.MODEL],
        dataset=run_tags.get(tags.DATASET, ""),
        validation_scores=tuple(to_maximize(metric, value) for value in validation),
        final_score=to_maximize(metric, final_score),
        test_scores=tuple(to_maximize(metric, value) for value in test_scores),
        epochs=_epochs(run_tags.get(tags.EPOCHS, ""), len(validation)),
        seconds=tuple(seconds),
        modality=run_tags.get(tags.MODALITY, ""),
        dataset_digest=run_tags.get(tags.DIGEST, ""),
        model_version=run_tags.get(tags.MODEL_VERSION, ""),
        recipe=run_tags.get(tags.RECIPE, ""),
        class_names=_read_names(run_tags.get(tags.CLASSES, "")),
        task=_read_task(run_tags),
        metric=metric,
        dataset_spec=run_tags.get(tags.SPEC, ""),
        run_id=run_id,
    )


def _epochs(text: str, default: int) -> int:
    """Return the number in a tag; the default where it holds none, since anyone can write tags."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else default


def _read_task(run_tags: Mapping[str, str], default: str = CLASSIFICATION) -> str:
    """Return the task in the tags; the default where they say none that is known."""
    task = run_tags.get(tags.TASK, "")
    return task if task in TASKS else default


def _task_of(metric: str) -> str:
    """Return the only task that has a metric; classification where there are several or none."""
    tasks = list(METRICS[metric].compute) if metric in METRICS else []
    return tasks[0] if len(tasks) == 1 else CLASSIFICATION


def _read_names(text: str) -> tuple[str, ...]:
    """Return the names in a tag; none where it is damaged."""
    with suppress(ValueError, TypeError):
        return tuple(str(name) for name in parse_json(text or "[]"))
    return ()


def distinct_datasets(records: list[Record]) -> list[Record]:
    """Return the records with different names for different contents of one dataset name.

    The most frequent content keeps the name, and the others get a part of their digest as a
    suffix. The content of a dataset in adopted runs is unknown, so it counts as another one.
    """
    contents: dict[str, dict[str, int]] = {}
    for record in records:
        counts = contents.setdefault(record.dataset, {})
        counts[record.dataset_digest] = counts.get(record.dataset_digest, 0) + 1
    main_digest = {name: max(counts, key=lambda d: counts[d]) for name, counts in contents.items()}
    return [
        record
        if record.dataset_digest == main_digest[record.dataset]
        else replace(record, dataset=f"{record.dataset}@{record.dataset_digest[:6] or 'adopted'}")
        for record in records
    ]
