"""How well is a model without a history estimated? One model left out at a time.

    python benchmarks/cold_start.py [FOLDER...] [--namespace recall/example] [--datasets 3]

A FOLDER holds tables as `FolderHistory` reads them, with scores of models on the recorded datasets,
or several such folders. Every model with scores loses its history in turn: the others are the
history, a few of them its references, and it is scored beside them on a few datasets. Features are
the columns of `models.csv`, or else the parts of a model's name. `--namespace` does the same with
a zoo, whose models are probed on those of its text datasets that can be prepared again. Prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from recall import Records, read_records, table_folders
from zoo_probes import open_zoo, probe_datasets

from mlflow_recall.adapters.figures import markdown_table
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.core.arrays import BoolArray, FloatArray
from mlflow_recall.core.clusters.clustering import no_clusters
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend.cold_start import (
    ColdStartEstimate,
    estimate_from_features,
    model_features,
)
from mlflow_recall.core.recommend.cold_start_scores import (
    most_measured,
    reference_models,
    score_cold_start,
)
from mlflow_recall.core.recommend.evidence import FeatureColumn
from mlflow_recall.core.scores import ForwardPass, compute_all
from mlflow_recall.core.standardize import z_scores
from mlflow_recall.workflows.probes import DEFAULT_SCORES

#: names of the scores that a recall uses, letters only; the first two of a record where it has none
USED_SCORES = {"logme", "hscore", "reghscore"}
#: models with scores that a record needs
MIN_MODELS = 10
COLUMNS = ("by features", "by scores", "by both")


def read_zoo(namespace: str) -> Records:
    """Read every text model with weights, on every dataset that can be prepared again."""
    with open_zoo(namespace) as services:
        datasets = list(probe_datasets(services, "accuracy", "text"))
        members = {member.name: member for member in services.registry.members()}
    models = tuple(sorted(set.intersection(*(set(dataset.probes) for dataset in datasets))))
    features = model_features([members[name] for name in models])
    scores = {
        (dataset.dataset, model): compute_all(
            DEFAULT_SCORES, ForwardPass(labels=probe.labels, embeddings=probe.embeddings)
        ).values
        for dataset in datasets
        for model, probe in dataset.probes.items()
    }
    names = tuple(dataset.dataset for dataset in datasets)
    return Records(
        name=namespace,
        metric="accuracy",
        matrix=PerformanceMatrix(
            models,
            names,
            np.array([[dataset.final_scores[m] for dataset in datasets] for m in models]),
        ),
        scores={
            score: np.array([[scores[d, m].get(score, np.nan) for d in names] for m in models])
            for score in DEFAULT_SCORES
        },
        model_features={
            name: dict(zip(models, column, strict=True)) for name, column in features.items()
        },
    )


def features_of(records: Records) -> dict[str, FeatureColumn]:
    """Return the columns of the models, or the parts of their names: the words, first letters."""
    models = records.matrix.models
    if not records.model_features:
        parts = [re.split(r"[|_\-/ ]", name) for name in models]
        columns: dict[str, FeatureColumn] = {
            f"part {i}": [words[i] if i < len(words) else "" for words in parts]
            for i in range(max(map(len, parts)))
        }
        columns["letters"] = [re.split("[^a-zA-Z]", name)[0] for name in models]
        return columns
    columns = {}
    for name, column in records.model_features.items():
        blank: float | str = "" if any(isinstance(v, str) for v in column.values()) else np.nan
        values = [column.get(model, blank) for model in models]
        numbers = np.array([v for v in values if not isinstance(v, str) and v == v])
        if len(numbers) and numbers.min() > 0 and numbers.max() > 100 * numbers.min():
            values = [float(np.log(v)) for v in values]
        columns[name] = values
    return columns


def used_scores(records: Records) -> dict[str, FloatArray]:
    """Return the scores that a recall uses, or the first two where a record has none of them."""
    letters = {name: re.sub(r"[^a-z]", "", name.lower()) for name in records.informative}
    used = {n: records.informative[n] for n, plain in letters.items() if plain in USED_SCORES}
    return used or dict(list(records.informative.items())[:2])


def has_all_scores(records: Records) -> BoolArray:
    """Return (m,) which models have every used score on some dataset."""
    scores = used_scores(records).values()
    has = np.all([~np.isnan(values).all(axis=1) for values in scores], axis=0)
    return np.broadcast_to(has, len(records.matrix.models))


def estimate_model(
    records: Records, model: int, datasets: int, references: int
) -> tuple[ColdStartEstimate, ColdStartEstimate] | None:
    """Estimate one model as if it had no history, by features, and by features and scores.

    Args:
        records: One metric of one folder or zoo.
        model: Index of the model.
        datasets: Datasets on which it is scored, at most.
        references: Measured models that are scored beside it, at most.

    Returns:
        None where it shares no feature with another model.
    """
    matrix, scores, features = records.matrix, used_scores(records), features_of(records)
    name = matrix.models[model]
    values = matrix.values.copy()
    values[model] = np.nan
    known = PerformanceMatrix(matrix.models, matrix.datasets, values)
    estimates = estimate_from_features(known, no_clusters(), features)
    own = [estimate for estimate in estimates if estimate.model == name]
    if not own:
        return None
    pairs = zip(matrix.models, has_all_scores(records), strict=True)
    scored_models = {model_name for model_name, has in pairs if has}
    reference_names = reference_models(known, features, scored_models, references)
    scored_datasets = [
        dataset
        for j, dataset in enumerate(matrix.datasets)
        if all(~np.isnan(column[model, j]) for column in scores.values())
    ]
    chosen = most_measured(known, scored_datasets, datasets)
    is_probed = np.full(values.shape, False)
    rows = [matrix.models.index(n) for n in (name, *reference_names)]
    is_probed[np.ix_(rows, [matrix.datasets.index(n) for n in chosen])] = True
    probed = {score: np.where(is_probed, column, np.nan) for score, column in scores.items()}
    (by_both,) = score_cold_start(own, known, no_clusters(), features, probed)
    return own[0], by_both


def table_row(records: Records, datasets: int, references: int) -> Mapping[str, object]:
    """Estimate every model with scores, and compare the estimates with its history."""
    matrix = records.matrix
    estimated, true, weights, distances = [], [], [], []
    z = z_scores(matrix.values)
    for model in np.flatnonzero(has_all_scores(records) & ~np.isnan(matrix.mean_z_score)):
        estimates = estimate_model(records, int(model), datasets, references)
        if estimates is None:
            continue
        by_features, by_both = estimates
        true.append(matrix.mean_z_score[model])
        estimated.append([by_features.z_score, by_both.score_z_score, by_both.z_score])
        weights.append(by_both.score_weight)
        nearest = [matrix.models.index(estimate.nearest_model) for estimate in estimates]
        distances.append([np.nanmean(np.abs(z[model] - z[other])) for other in nearest])
    predicted, observed = np.array(estimated), np.array(true)
    correlations = [np.corrcoef(column, observed)[0, 1] for column in predicted.T]
    errors = np.sqrt(np.mean((predicted - observed[:, None]) ** 2, axis=0))
    return {
        "record": f"{records.name}, {records.metric}",
        "models": len(observed),
        "scores": ", ".join(used_scores(records)),
        **{
            column: f"{correlation:.2f} ({error:.2f})"
            for column, correlation, error in zip(COLUMNS, correlations, errors, strict=True)
        },
        "weight of scores": f"{np.mean(weights):.2f}",
        "distance to the nearest model": " → ".join(f"{x:.2f}" for x in np.mean(distances, axis=0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--namespace", help="namespace of a zoo; default: none")
    parser.add_argument("--datasets", type=int, default=3)
    parser.add_argument("--references", type=int, default=8)
    options = parser.parse_args()
    sources = [read_zoo(options.namespace)] if options.namespace else []
    for folder in table_folders(options.folders):
        for metric in FolderHistory(folder).metrics():
            records = read_records(folder, metric)
            if used_scores(records) and has_all_scores(records).sum() >= MIN_MODELS:
                sources.append(records)
    print(
        markdown_table(
            [table_row(records, options.datasets, options.references) for records in sources]
        )
    )


if __name__ == "__main__":
    main()
