"""Small zoos with a history, made by the product's own workflows once a session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml
from fakes import InlineEngine
from mlflow import MlflowClient
from mlflow.entities import Run
from tiny import tiny_bert, tiny_images, tiny_texts, tiny_timm

from mlflow_recall.adapters import zoo
from mlflow_recall.adapters.data.preparation import prepare
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks, read_zoo
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import search_runs
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.cache import cache_folder
from mlflow_recall.config import BenchmarkConfig
from mlflow_recall.workflows.benchmark import run_benchmark
from mlflow_recall.workflows.register import register_models
from mlflow_recall.workflows.services import Services

EPOCHS = 3
#: of every cell of the text zoo; targets have more, so that `--final auto` trains on all of them
TRAIN_SAMPLES = 48
TARGET_ROWS = 150
#: name -> learning rate: unlike enough that some end higher than others
RATES = {"tiny-0": 2e-2, "tiny-1": 1e-2, "tiny-2": 5e-3, "tiny-3": 1e-3, "tiny-4": 1e-5}
ARCHS = {
    "pixel-0": "test_resnet",
    "pixel-1": "test_resnet",
    "pixel-2": "test_efficientnet",
    "pixel-3": "test_efficientnet",
}


@dataclass
class RecordingReporter:
    """A reporter that keeps every line; it is its own progress bar."""

    #: every line, warnings included
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    done: int = 0

    def info(self, line: str) -> None:
        self.lines.append(line)

    def warning(self, line: str) -> None:
        self.lines.append(line)
        self.warnings.append(line)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[RecordingReporter]:
        yield self

    def advance(self, steps: int = 1, status: str = "") -> None:
        self.done += steps

    def set_total(self, total: int) -> None:
        pass


@dataclass(frozen=True)
class Zoo:
    """A namespace of a store with registered models and their benchmark runs."""

    uri: str
    namespace: str
    #: zoo.yaml, benchmarks.yaml and what they name
    folder: Path
    #: a dataset that nothing was benchmarked on
    target: DatasetSpec
    #: names in the registry
    models: tuple[str, ...]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri)

    @property
    def everyone(self) -> str:
        """Pattern of the models that were registered first, without later winners."""
        return f"{MlflowRegistry(self.client, self.namespace).name_of('')}[tp]i*-[0-9]"


def services_for(uri: str, namespace: str) -> tuple[Services, RecordingReporter]:
    """The services of a workflow, run in this process, and the reporter of its lines."""
    client, reporter = MlflowClient(tracking_uri=uri), RecordingReporter()
    services = Services(
        client=client,
        namespace=namespace,
        history=TrackingHistory(client, namespace),
        registry=MlflowRegistry(client, namespace),
        engine=InlineEngine(),
        train=zoo.train,
        probe=zoo.probe,
        prepare=prepare,
        reporter=reporter,
    )
    return services, reporter


def registry_for(services: Services) -> MlflowRegistry:
    """The registry itself, which has more methods than its port."""
    return MlflowRegistry(services.client, services.namespace)


def find_runs(uri: str, namespace: str, kind: str, experiment: str = "") -> list[Run]:
    """Return the runs of a kind in one of a namespace's experiments, oldest first."""
    client = MlflowClient(tracking_uri=uri)
    entity = client.get_experiment_by_name(f"{namespace}/{experiment or kind}")
    if entity is None:
        return []
    query = f"tags.`{tags.KIND}` = '{kind}'"
    runs = search_runs(client, [str(entity.experiment_id)], query)
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_name))


def write_zoo(path: Path, models: Sequence[Mapping[str, object]]) -> Path:
    """Write a zoo file and return its path."""
    path.write_text(yaml.safe_dump({"models": list(models)}))
    return path


def write_text_zoo(folder: Path, count: int = len(RATES)) -> tuple[Path, Path, Path]:
    """Five tiny encoders, three benchmark sets and a target: zoo file, benchmark file, CSV."""
    for i in range(count):
        tiny_bert(folder / f"bert-{i}", layers=1 + i % 2, seed=i)
    recipe = {"epochs": EPOCHS, "train_samples": TRAIN_SAMPLES, "batch_size": 8}
    models = [
        {
            "source": f"bert-{i}",
            "name": name,
            "modality": "text",
            "family": "tiny",
            "recipe": {**recipe, "learning_rate": rate},
        }
        for i, (name, rate) in enumerate(list(RATES.items())[:count])
    ]
    for i in range(3):
        tiny_texts(folder / f"set-{i}.csv", 90, seed=i)
    listed = {"datasets": [{"path": f"set-{i}.csv"} for i in range(3)]}
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump(listed))
    target = tiny_texts(folder / "target.csv", TARGET_ROWS, seed=9)
    return write_zoo(folder / "zoo.yaml", models), folder / "benchmarks.yaml", target


def build_zoo(uri: str, namespace: str, zoo_file: Path, benchmarks: Path, target: Path) -> Zoo:
    """Register the models of a zoo file and benchmark them, in this process."""
    services, reporter = services_for(uri, namespace)
    done = register_models(read_zoo(zoo_file), registry_for(services), reporter).models
    result = run_benchmark(BenchmarkConfig(datasets=tuple(read_benchmarks(benchmarks))), services)
    assert not result.failed
    models = tuple(model.name for model in done)
    return Zoo(uri, namespace, zoo_file.parent, DatasetSpec(path=str(target)), models)


@cache
def text_zoo(uri: str) -> Zoo:
    """Five encoders on three datasets; tests share it and leave its models and runs alone."""
    folder = cache_folder("prepared", "text")
    folder.mkdir(parents=True)
    return build_zoo(uri, "text", *write_text_zoo(folder))


@cache
def image_zoo(uri: str) -> Zoo:
    """Four image networks with a source head on two datasets, in two clusters of two."""
    folder = cache_folder("prepared", "image")
    folder.mkdir(parents=True)
    recipe = {"epochs": 2, "input_size": 32, "batch_size": 8, "learning_rate": 5e-3}
    models = []
    for i, (name, arch) in enumerate(ARCHS.items()):
        tiny_timm(folder / name, arch, classes=[f"class-{c}" for c in range(5)], seed=i)
        models.append(
            {
                "source": name,
                "modality": "image",
                "source_head": True,
                "recipe": recipe,
                "name": name,
            }
        )
    for i in range(2):
        tiny_images(folder / f"pictures-{i}", 45, seed=i)
    listed = {"datasets": [{"path": f"pictures-{i}"} for i in range(2)]}
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump(listed))
    target = tiny_images(folder / "target", 60, seed=9)
    zoo_file = write_zoo(folder / "zoo.yaml", models)
    prepared = build_zoo(uri, "image", zoo_file, folder / "benchmarks.yaml", target)
    tag_clusters(
        prepared, {"image-primary-1": prepared.models[:2], "image-primary-2": prepared.models[2:]}
    )
    return prepared


def tag_clusters(prepared: Zoo, clusters: Mapping[str, Sequence[str]]) -> None:
    """Tag models as if a clustering had put them together; the first of each represents it."""
    for cluster, members in clusters.items():
        for member in members:
            values = {
                tags.CLUSTER: cluster,
                tags.REPRESENTATIVE: str(member == members[0]).lower(),
                tags.CLUSTER_METRIC: "primary",
            }
            for tag, value in values.items():
                prepared.client.set_registered_model_tag(member, tag, value)
