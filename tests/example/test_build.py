"""Facts of making the example's history: the order, and what happens when a part fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_recall.adapters.data.preparation import prepare
from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks
from mlflow_recall_example import FOLDER, build, cells

SHIPPED = FOLDER / "targets" / "targets.yaml"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The product's commands, each answered as if all of its cells had been there."""
    known: list[tuple[str, ...]] = []

    def answer(*arguments: str, **_: object) -> None:
        known.append(arguments)
        if "--json" in arguments:
            report = {"cells": 9, "skipped": 9, "completed": [], "remaining": 0, "failed": {}}
            Path(arguments[arguments.index("--json") + 1]).write_text(json.dumps(report))

    monkeypatch.setattr(cells, "_recall", answer)
    return known


def prepared(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def make(folder: Path, to: Path, *options: str) -> tuple[int, str]:
    command = ["history", "--datasets", str(folder), "--to", str(to), *options]
    done = CliRunner().invoke(build.main, command)
    return done.exit_code, done.output


@pytest.mark.parametrize("kind", cells.INPUT_SIZES)
def test_what_a_selection_needs_is_made_first(kind: str, tmp_path: Path) -> None:
    """Benchmarks, the targets' brute force, repeats, LoRA, and more seeds of the brute force."""
    benchmarks, targets = (tmp_path / f"{what}-{kind}.yaml" for what in ("benchmarks", "targets"))

    order = [
        (file, options[options.index("--seed") + 1] if "--seed" in options else "0")
        for file, options in cells.steps(tmp_path, kind)
    ]

    seeds = cells.MORE_SEEDS
    assert order == [
        (benchmarks, "0"),
        (SHIPPED, "0"),
        (targets, "0"),
        *((benchmarks, seed) for _ in cells.REPEATED[kind] for seed in seeds),
        *((benchmarks, "0") for _ in cells.LORA[kind]),
        *((file, seed) for seed in seeds for file in (SHIPPED, targets)),
    ]


def test_a_target_is_trained_alike_with_every_seed(tmp_path: Path) -> None:
    """A selection is judged three times: only the seed may differ."""
    for kind in cells.INPUT_SIZES:
        steps = list(cells.steps(tmp_path, kind))
        first = [step for step in steps[:3] if step[0] != steps[0][0]]
        for seed in cells.MORE_SEEDS:
            assert [(file, (*options, "--seed", seed)) for file, options in first] == [
                step for step in steps[-2 * len(first) :] if step[1][-1] == seed
            ]


def test_every_fine_tuning_has_the_one_recipe(
    commands: list[tuple[str, ...]], tmp_path: Path
) -> None:
    """Trends hold for one recipe only."""
    folder = prepared(tmp_path / "sets", "benchmarks-image.yaml", "targets-image.yaml")

    code, output = make(folder, tmp_path / "history", "--modality", "image")

    trained = [command for command in commands if command[0] == "benchmark"]
    assert code == 0, output
    assert len(trained) == len(list(cells.steps(folder, "image")))
    assert all(set(cells.RECIPE) <= set(command) for command in trained)
    assert {c[c.index("--input-size") + 1] for c in trained} == {cells.INPUT_SIZES["image"]}


def test_sets_that_are_not_there_are_named_and_the_rest_goes_on(
    commands: list[tuple[str, ...]], tmp_path: Path
) -> None:
    """Hours of the others must not hang on one set that cannot be prepared."""
    folder = prepared(tmp_path / "sets", "targets-text.yaml")

    code, output = make(folder, tmp_path / "history", "--modality", "text")

    missing = folder / "benchmarks-text.yaml"
    remedy = f"python -m mlflow_recall_example.build datasets --to {folder}"
    assert code == 1
    assert f"{missing} is not there; run: {remedy}" in output
    files = [c[c.index("--datasets") + 1] for c in commands if c[0] == "benchmark"]
    assert set(files) == {str(SHIPPED), str(folder / "targets-text.yaml")}
    assert f"targets-text.yaml --seed {cells.MORE_SEEDS[-1]}: 9 of 9 cells" in output


def test_a_command_of_the_product_that_fails_ends_its_step_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its own line has the reason; ours says which step is missing."""
    folder = prepared(tmp_path / "sets", "benchmarks-text.yaml", "targets-text.yaml")
    monkeypatch.setattr(
        cells.subprocess, "run", lambda command, **_: cells.subprocess.CompletedProcess(command, 1)
    )
    with pytest.raises(build.ExampleError, match=r"`mlflow-recall benchmark .* failed with 1"):
        cells.benchmark(folder / "targets-text.yaml", "text", (), tmp_path / "history", 1)

    code, output = make(folder, tmp_path / "history")

    assert code == 1
    assert "`mlflow-recall register" in output
    assert "Traceback" not in output


def test_a_set_that_ships_frozen_is_the_one_that_was_fine_tuned_on(tmp_path: Path) -> None:
    """Its source has changed since: the file must be what the history speaks of."""
    runs = (FOLDER / "history" / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    tags = [json.loads(line)["tags"] for line in runs]
    recorded = {(run["recall.dataset"], run["recall.dataset_digest"]) for run in tags}
    names = {name for name, dataset in build.DATASETS.items() if dataset.frozen}

    rows = {name: build.write(name, tmp_path, tmp_path) for name in names}
    build.describe(tmp_path)

    listed = [tmp_path / f"{what}-text.yaml" for what in ("benchmarks", "targets")]
    prepared = [prepare(spec) for file in listed for spec in read_benchmarks(file)]
    assert rows == dict.fromkeys(names, sum(build.SIZES.values()))
    assert {dataset.name for dataset in prepared} == names
    assert {(dataset.name, dataset.digest) for dataset in prepared} == {
        cell for cell in recorded if cell[0] in names
    }


@pytest.mark.skipif(not shutil.which("apt-cache"), reason="needs the package index of a Debian")
@pytest.mark.slow
def test_frozen_sets_are_drawn_again_from_the_index_of_today(tmp_path: Path) -> None:
    done = CliRunner().invoke(build.main, ["freeze", "--to", str(tmp_path / "frozen")])

    assert done.exit_code == 0, done.output
    benchmarks = [n for n, each in build.DATASETS.items() if each.frozen and not each.target]
    for name in benchmarks:
        drawn = (tmp_path / "frozen" / f"{name}.csv").read_text(encoding="utf-8")
        assert drawn.splitlines()[0] == "text,label,split"  # none of them has pairs
        assert f"{name}: {sum(build.SIZES.values())} rows" in done.output
