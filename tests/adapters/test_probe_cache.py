"""Probes are kept in files, read again, and removed where there are too many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlflow_recall.adapters.probe_cache import ProbeCache
from mlflow_recall.core.arrays import AnyArray
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.ports import Probe, ProbeTask

MEMBER = Member(name="a", version="1", modality="text", arch="transformers/bert", identity="1:here")
DATASET = Dataset(
    name="d", digest="abc", modality="text", classes=("no", "yes"), sizes={}, source="", folder=""
)
TASK = ProbeTask(member=MEMBER, weights="", dataset=DATASET, recipe=Recipe(), samples=10)


def probe(
    value: float = 0.0, *, head: bool = True, layers: int | None = 37, rows: int = 10
) -> Probe:
    probabilities = np.full((rows, 2), 0.5) if head else None
    return Probe(
        labels=np.arange(rows) % 2,
        embeddings=np.full((rows, 4), value),
        probabilities=probabilities,
        seconds=1.5,
        layers=layers,
    )


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("layers", [37, None])
def test_a_kept_probe_is_read_again_and_costs_nothing(
    tmp_path: Path, head: bool, layers: int | None
) -> None:
    """A probe without a source head, or of an unknown depth, is kept too."""
    kept = probe(0.25, head=head, layers=layers)
    ProbeCache(tmp_path).put(TASK, kept)

    result = ProbeCache(tmp_path).get(TASK)

    assert result is not None
    assert (result.seconds, result.layers) == (0.0, layers)
    np.testing.assert_array_equal(result.embeddings, kept.embeddings)
    np.testing.assert_array_equal(result.labels, kept.labels)
    assert (result.probabilities is not None) == head


@pytest.mark.parametrize(
    "labels",
    [np.array([[0, 1], [1, 1]]), np.array([[True, False], [False, False]]), np.array([0.5, -2.0])],
    ids=["labels", "booleans", "numbers"],
)
def test_targets_of_any_task_are_kept_as_they_are(tmp_path: Path, labels: AnyArray) -> None:
    ProbeCache(tmp_path).put(TASK, replace(probe(rows=2), labels=labels))

    result = ProbeCache(tmp_path).get(TASK)

    assert result is not None
    assert result.labels.dtype == labels.dtype
    np.testing.assert_array_equal(result.labels, labels)


@pytest.mark.parametrize(
    "other",
    [
        replace(TASK, samples=11),
        replace(TASK, dataset=replace(DATASET, digest="abd")),
        replace(TASK, recipe=Recipe(input_size=64)),
        replace(TASK, recipe=Recipe(seed=1)),
        replace(TASK, member=replace(MEMBER, version="2")),
        replace(TASK, member=replace(MEMBER, identity="2:there")),
        replace(TASK, member=replace(MEMBER, config={"num_hidden_layers": 1})),
    ],
)
def test_a_probe_of_another_sample_dataset_or_model_is_another_one(
    tmp_path: Path, other: ProbeTask
) -> None:
    cache = ProbeCache(tmp_path)
    cache.put(TASK, probe())

    assert cache.get(other) is None


def test_a_probe_does_not_depend_on_the_learning_rate(tmp_path: Path) -> None:
    cache = ProbeCache(tmp_path)
    cache.put(TASK, probe())

    assert cache.get(replace(TASK, recipe=Recipe(learning_rate=1.0), weights="/elsewhere"))


def test_a_broken_file_is_no_probe_and_is_replaced(tmp_path: Path) -> None:
    cache = ProbeCache(tmp_path)
    cache.put(TASK, probe())
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:40])

    assert cache.get(TASK) is None
    cache.put(TASK, probe(0.5))
    assert cache.get(TASK) is not None


def test_the_one_read_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = ProbeCache(tmp_path)
    tasks = [replace(TASK, samples=10 + i) for i in range(3)]
    for task in tasks[:2]:
        cache.put(task, probe(rows=1000))
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    cache.get(tasks[0])

    ProbeCache(tmp_path, limit=size).put(tasks[2], probe(rows=1000))

    assert [cache.get(task) is not None for task in tasks] == [True, False, True]


def test_many_writers_leave_whole_files(tmp_path: Path) -> None:
    cache = ProbeCache(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: cache.put(TASK, probe(i, rows=500)), range(32)))

    result = cache.get(TASK)

    assert result is not None
    assert len(np.unique(result.embeddings)) == 1
    assert [file.suffix for file in tmp_path.iterdir()] == [".safetensors"]


def test_the_limit_can_be_set_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RECALL_PROBES", "0")
    cache = ProbeCache(tmp_path)

    cache.put(TASK, probe())

    assert cache.get(TASK) is None
