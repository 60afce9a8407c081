"""The example that ships with the package: its targets, and its history in a store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlflow_recall.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from mlflow_recall.adapters.export.transfer import HistoryTransfer
    from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
    from mlflow_recall.workflows.services import Services

#: the dataset that stands for a target of the example
EXAMPLE = "example"
#: namespace of its zoo, apart from the user's own
EXAMPLE_NAMESPACE = "recall/example"
_DEFAULT_TARGET = "docstrings"


def is_example(dataset: str | None) -> bool:
    """Return whether a dataset is ``example``, or ``example:`` and a name."""
    return dataset is not None and dataset.partition(":")[0] == EXAMPLE


def shipped_target(dataset: str) -> DatasetSpec:
    """Return the target that ``example`` or ``example:NAME`` stands for.

    Raises:
        ConfigError: There is none of that name.
    """
    import mlflow_recall_example
    from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks

    name = dataset.partition(":")[2] or _DEFAULT_TARGET
    file = mlflow_recall_example.FOLDER / "targets" / "targets.yaml"
    targets = {target.name: target for target in read_benchmarks(str(file))}
    if name not in targets:
        raise ConfigError(unknown_name("target of the example", name, targets))
    return targets[name]


def import_example(services: Services, transfer: HistoryTransfer, dataset: str | None) -> None:
    """Import the example's history, if it is not there yet, and cluster its models.

    Args:
        services: Services with the namespace of the example.
        transfer: Import into that namespace.
        dataset: Target of the example, whose modality is imported; any other: all.
    """
    import mlflow_recall_example
    from mlflow_recall.config import ClusterConfig
    from mlflow_recall.core.history.tasks import PRIMARY
    from mlflow_recall.workflows.cluster import cluster_zoo

    modality = None
    if dataset is not None and is_example(dataset):
        modality = "image" if shipped_target(dataset).image else "text"
    summary = transfer.import_history(
        mlflow_recall_example.FOLDER / "history", services.reporter, modality
    )
    if summary.runs:
        # the targets' own records judge a selection, so clusters are made without them
        datasets = {record.dataset for record in services.history.records(PRIMARY)}
        targets = tuple(name for name in mlflow_recall_example.TARGETS if name in datasets)
        config = ClusterConfig(modality=modality, drop_datasets=targets)
        cluster_zoo(config, replace(services, run_id=None))
