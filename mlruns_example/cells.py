"""Cells of the history, made with the product's own commands: all in order, or one again."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.core.history.comparable import mode_of
from mlflow_recall.core.history.overview import noise_floor
from mlflow_recall.core.history.recipes import FULL
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall_example import FOLDER, HISTORY
from mlflow_recall_example.packages import ExampleError

ZOOS = ("zoo.yaml", "image_zoo.yaml")
#: the targets that ship, and the file that lists them
SHIPPED = {
    "text": ("docstrings", "function_summaries", "debian_size"),
    "image": ("script_id",),
}
SHIPPED_FILE = FOLDER / "targets" / "targets.yaml"
NAMESPACE = ("--namespace", "recall/example")
#: recipe of every fine-tuning in the history; the rest are the family's defaults
RECIPE = ("--epochs", "5", "--train-samples", "500", "--eval-samples", "300")
INPUT_SIZES = {"text": "48", "image": "64"}
#: modality -> blocks of models x datasets
Blocks = Mapping[str, Sequence[tuple[Sequence[str], Sequence[str]]]]
#: benchmark cells that are trained again with other seeds, for the noise floor
REPEATED: Blocks = {
    "text": (
        (
            ("minilm-l6", "minilm-l2", "paraphrase-l3", "sre-l3", "e5-l4", "bert-tiny-scratch"),
            ("wordnet_supersense", "emoji_group", "name_gender", "roget_topic"),
        ),
        (
            ("minilm-l6", "minilm-l2", "paraphrase-l3", "e5-l4"),
            ("definitions", "valence_tweets", "debian_tags"),
        ),
    ),
    "image": (
        (
            (
                "effnet-lite0",
                "mobilenetv2-dogs",
                "mobilenetv1-face",
                "mobilenetv2-pose",
                "mobilenetv2-dogs-captcha",
                "resnet10t-scratch",
            ),
            ("digits8", "clipart", "emoji_twitter", "textile"),
        ),
    ),
}
#: benchmark cells that are trained in the mode `lora` too, one dataset of each task
LORA: Blocks = {
    "text": (
        (
            ("minilm-l6", "minilm-l3", "paraphrase-l3", "e5-l6"),
            ("wordnet_supersense", "definitions", "valence_tweets", "debian_tags"),
        ),
    ),
    "image": (),
}
#: seeds of the repeats, and of the brute force on the targets, so that a selection is judged three
#: times; all cells are trained with seed 0
MORE_SEEDS = ("1", "2")
#: standard deviations of a difference that noise still explains
_MAX_DEVIATIONS = 2.0


# --- All of them --------------------------------------------------------------------------------


def register_members() -> None:
    """Register both zoos in the store that MLflow uses."""
    for zoo in ZOOS:
        _recall("register", "--zoo", str(FOLDER / zoo))


def import_history(folder: Path) -> None:
    """Import what `folder` holds."""
    _recall("history", "import", "--from", str(folder))


def steps(folder: Path, kind: str) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the file of datasets and the options of each `benchmark` of one modality, in order.

    Benchmarks first, then the targets' brute force, then the repeats, then the mode `lora`, then
    the targets with more seeds.
    """
    benchmarks = folder / f"benchmarks-{kind}.yaml"
    targets: tuple[tuple[Path, tuple[str, ...]], ...] = (
        (SHIPPED_FILE, ("--only", ",".join(SHIPPED[kind]))),
        (folder / f"targets-{kind}.yaml", ()),
    )
    yield benchmarks, ()
    yield from targets
    for block in REPEATED[kind]:
        for seed in MORE_SEEDS:
            yield benchmarks, (*_only(*block), "--seed", seed)
    for block in LORA[kind]:
        yield benchmarks, (*_only(*block), "--mode", "lora")
    for seed in MORE_SEEDS:
        for file, options in targets:
            yield file, (*options, "--seed", seed)


def _only(models: Sequence[str], sets: Sequence[str]) -> tuple[str, ...]:
    return "--models", ",".join(f"*--{model}" for model in models), "--only", ",".join(sets)


def benchmark(file: Path, kind: str, options: tuple[str, ...], to: Path, workers: int) -> str:
    """Make every cell of a file of datasets, with an export after every twenty."""
    if not file.is_file():
        raise ExampleError(
            f"{file} is not there; run: python -m mlflow_recall_example.build datasets "
            f"--to {file.parent}"
        )
    to.mkdir(parents=True, exist_ok=True)
    options = (*options, "--limit", "20", "--workers", str(workers))
    while True:
        result = _benchmark(file, kind, options, to / ".benchmark.json")
        if result["completed"]:
            _recall("history", "export", "--to", str(to))
        if not result["remaining"] or not result["completed"]:
            return f"{result['skipped'] + len(result['completed'])} of {result['cells']} cells"


def _benchmark(
    file: Path, kind: str, options: tuple[str, ...], report: Path, store: Path | None = None
) -> dict[str, Any]:
    """Run `benchmark`, and return what it writes as JSON."""
    _recall(
        *("benchmark", "--datasets", str(file), *RECIPE, "--input-size", INPUT_SIZES[kind]),
        *("--threads", "1", *options, "--json", str(report)),
        store=store,
    )
    result: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    report.unlink()
    return result


# --- One of them --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Again:
    """One recorded fine-tuning, and the same one made again."""

    recorded: Record
    made: Record
    #: noise floor of the modality: one standard deviation of a fine-tuning
    noise: float

    @property
    def far(self) -> bool:
        """Whether the final test scores differ by more than noise explains.

        That is two standard deviations of the difference of two fine-tunings.
        """
        return (
            abs(self.made.final_score - self.recorded.final_score)
            > _MAX_DEVIATIONS * math.sqrt(2) * self.noise
        )

    @property
    def words(self) -> str:
        """The comparison in one line."""
        one, other = self.recorded, self.made
        scores = f"{one.final_score:.3f} on record, {other.final_score:.3f} made again"
        text = f"test {one.metric} {scores}: "
        if one.dataset_digest != other.dataset_digest:
            text += f"of other data ({other.dataset_digest}, on record {one.dataset_digest}), "
        if one.test_scores == other.test_scores:
            return text + "the same after every epoch"
        text += f"{abs(other.final_score - one.final_score):.3f} apart, "
        text += "more than noise explains" if self.far else "within the noise"
        spread = math.sqrt(2) * self.noise
        return f"{text} (two fine-tunings differ by {spread:.3f}, one standard deviation)"


def recorded(model: str, dataset: str, seed: int) -> tuple[Record, float]:
    """Return the cell on record, and the noise floor of its modality.

    Raises:
        ExampleError: No such fine-tuning is on record.
    """
    records = [r for r in ExportHistory(HISTORY).records(PRIMARY) if mode_of(r) == FULL]
    named = {r.model for r in records}, {r.dataset for r in records}
    for name, known in zip((model, dataset), named, strict=True):
        if name not in known:
            raise ExampleError(f"{name} is not in the history; expected {', '.join(sorted(known))}")
    by_seed = {
        int(json.loads(record.recipe)["seed"]): record
        for record in records
        if (record.model, record.dataset) == (model, dataset)
    }
    if seed not in by_seed:
        seeds = ", ".join(map(str, sorted(by_seed))) or "none, they are of two modalities"
        raise ExampleError(f"{model} on {dataset}: no seed {seed} on record, expected: {seeds}")
    kind = by_seed[seed].modality
    return by_seed[seed], noise_floor([r for r in records if r.modality == kind]).std_or_zero


def made_again(cell: Record, seed: int, file: Path, scratch: Path) -> Record:
    """Fine-tune one cell as the history did, in a store of its own.

    Args:
        cell: The record.
        seed: Seed of its recipe.
        file: YAML that lists its dataset.
        scratch: Empty folder for the store.

    Raises:
        ExampleError: It could not be fine-tuned; the output of the product says why.
    """
    zoo, to = scratch / "zoo.yaml", scratch / "history"
    zoo.write_text(yaml.safe_dump({"models": [_entry(cell.model)]}), encoding="utf-8")
    _recall("register", "--zoo", str(zoo), store=scratch)
    options = ("--only", cell.dataset, "--seed", str(seed), "--workers", "1")
    if not _benchmark(file, cell.modality, options, scratch / "result.json", scratch)["completed"]:
        raise ExampleError(f"{cell.model} on {cell.dataset} was not fine-tuned, see above")
    _recall("history", "export", "--to", str(to), store=scratch)
    return ExportHistory(to).records(PRIMARY)[0]


def _entry(model: str) -> dict[str, object]:
    for zoo in ZOOS:
        for entry in yaml.safe_load((FOLDER / zoo).read_text(encoding="utf-8"))["models"]:
            if entry["name"] == model:
                return dict(entry)
    raise ExampleError(f"{model} is in the history, but in neither of {' and '.join(ZOOS)}")


def _recall(*arguments: str, store: Path | None = None) -> None:
    """Run a command of the product, in the store that MLflow uses or in one of its own."""
    command = [sys.executable, "-m", "mlflow_recall", *arguments, *NAMESPACE]
    own = {} if store is None else {"MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlflow.db'}"}
    done = subprocess.run(command, check=False, cwd=store, env=os.environ | own)
    if done.returncode:
        raise ExampleError(
            f"`mlflow-recall {' '.join(arguments)}` failed with {done.returncode}, see above"
        )
