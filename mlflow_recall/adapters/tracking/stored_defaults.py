"""The defaults that a back-test prefers, as tags of the experiment with the history."""

from __future__ import annotations

from mlflow import MlflowClient

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import ensure_experiment
from mlflow_recall.core.defaults import Defaults


def read_defaults(client: MlflowClient, namespace: str, modality: str, metric: str) -> Defaults:
    """Return the preferred defaults of a modality and metric, or the built-in ones.

    Raises:
        HistoryError: The tag holds something else.
    """
    experiment = client.get_experiment_by_name(f"{namespace}/benchmark")
    text = experiment.tags.get(_tag(modality, metric), "") if experiment else ""
    return Defaults.from_json(text) if text else Defaults()


def write_defaults(
    client: MlflowClient, namespace: str, modality: str, metric: str, defaults: Defaults
) -> None:
    """Store the defaults for every later ``auto``."""
    experiment = ensure_experiment(client, f"{namespace}/benchmark")
    client.set_experiment_tag(experiment, _tag(modality, metric), defaults.to_json())


def _tag(modality: str, metric: str) -> str:
    return f"{tags.DEFAULTS}.{modality or 'any'}.{metric}"
