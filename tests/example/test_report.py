"""The example's README says what its history says."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks, read_zoo
from mlflow_recall.core.history.overview import summarize_history
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall_example import FOLDER, TARGETS, build, cells, report


@pytest.mark.slow
def test_the_tables_of_the_readme_are_those_of_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(FOLDER / "README.md", tmp_path / "README.md")
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    monkeypatch.setattr(report, "PICTURES", tmp_path / "pictures")

    written = list(report.write(build.DATASETS))

    rebuilt = (tmp_path / "README.md").read_text()
    assert rebuilt == (FOLDER / "README.md").read_text(), "run the example's `build report`"
    assert all(path.stat().st_size for path in written)


def test_both_zoos_have_sixteen_members_or_more_and_distinct_names() -> None:
    zoos = [read_zoo(FOLDER / name) for name in cells.ZOOS]

    assert all(len(zoo) >= 16 for zoo in zoos)
    assert len({model.title for zoo in zoos for model in zoo}) == sum(map(len, zoos))
    assert {model.modality for zoo in zoos for model in zoo} == {"text", "image"}


def test_there_are_benchmarks_and_targets_of_each_modality_and_task() -> None:
    shipped = read_benchmarks(FOLDER / "targets" / "targets.yaml")
    targets = {name for name, dataset in build.DATASETS.items() if dataset.target}
    kinds = Counter(
        (dataset.task or "classes", len(dataset.texts), dataset.target)
        for dataset in build.TEXTS.values()
    )

    assert len(build.DATASETS) - len(build.TEXTS) == 12 + 4
    assert kinds == {
        ("classes", 1, False): 12,
        ("classes", 1, True): 3,
        ("classes", 2, False): 2,
        ("classes", 2, True): 1,
        ("regression", 1, False): 2,
        ("regression", 1, True): 1,
        ("multilabel", 1, False): 1,
    }
    assert {*targets, *(spec.title for spec in shipped)} == set(TARGETS)


def test_what_is_trained_again_for_the_noise_is_in_zoo_and_datasets() -> None:
    zoo = {model.title for name in cells.ZOOS for model in read_zoo(FOLDER / name)}

    for kind in cells.INPUT_SIZES:
        assert sum(len(models) * len(sets) for models, sets in cells.REPEATED[kind]) >= 24
        for models, sets in (*cells.REPEATED[kind], *cells.LORA[kind]):
            assert set(models) <= zoo
            assert set(sets) <= set(build.DATASETS)


def test_the_history_tests_every_stage_by_one_recipe_a_model() -> None:
    records = ExportHistory(FOLDER / "history").records(PRIMARY)

    assert {record.epochs for record in records} == {5}
    assert all(len(record.test_scores) == len(record.validation_scores) == 5 for record in records)
    text = next(o for o in summarize_history(records, PRIMARY) if o.modality == "text")
    assert len(text.matrix.models) == 16
    assert "docstrings" in text.matrix.datasets


def test_the_yaml_files_list_what_a_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "spam.csv").touch()
    (tmp_path / "foldoc.csv").touch()
    (tmp_path / "digits8").mkdir()

    build.describe(tmp_path)

    listed = {
        path.name: [spec.title for spec in read_benchmarks(path)]
        for path in tmp_path.glob("*.yaml")
    }
    assert listed == {
        "benchmarks-text.yaml": ["spam"],
        "targets-text.yaml": ["foldoc"],
        "benchmarks-image.yaml": ["digits8"],
    }


@pytest.mark.slow
def test_only_what_stands_between_the_markers_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "before\n<!-- noise -->\n<!-- end -->\nbetween\n<!-- models -->\nold\n<!-- end -->\nafter\n"
    )
    monkeypatch.setattr(report, "README", readme)
    monkeypatch.setattr(report, "PICTURES", tmp_path / "pictures")

    list(report.write(build.DATASETS))

    text = readme.read_text()
    assert [line for line in text.splitlines() if line in ("before", "between", "after")] == [
        "before", "between", "after",
    ]  # fmt: skip
    assert "| modality |" in text
    assert "| e5-l12 |" in text.partition("between")[2]
    assert "old" not in text
