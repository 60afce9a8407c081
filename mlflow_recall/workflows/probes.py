"""What looking at a target has cost, where recalls were recorded."""

from __future__ import annotations

import numpy as np

from mlflow_recall.adapters.tracking import search_runs
from mlflow_recall.workflows.bench import Bench


def measured_probe(bench: Bench) -> float | None:
    """Epochs that a look by one model was worth in this namespace's recalls; None before any."""
    names = (f"{bench.namespace}/recall", f"{bench.namespace}/select")
    found = [bench.client.get_experiment_by_name(name) for name in names]
    there = [str(experiment.experiment_id) for experiment in found if experiment]
    runs = search_runs(bench.client, there, "metrics.`recall/epochs` > 0")
    told = [(r.data.metrics["recall/epochs"], r.data.metrics["recall/probes"]) for r in runs]
    epochs, probes = np.array(told, dtype=np.float64).reshape(-1, 2).sum(axis=0).tolist()
    return epochs / probes if probes else None
