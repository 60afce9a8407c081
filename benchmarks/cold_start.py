"""How far can the strength of a model without a history be told? One model left out at a time.

    python benchmarks/cold_start.py [FOLDER...] [--namespace recall/example] [--datasets 3]

A FOLDER has tables as `FolderHistory` reads them, with scores of models on the recorded datasets,
or is a folder of such folders. Every model with scores is made a newcomer in turn: the others are
the history, a few of them its references, and it is scored beside them on a few datasets. Features
are the columns of `models.csv`, or else the parts of a model's name. `--namespace` does the same
with a zoo, whose models look at those of its text datasets that can be had again. Prints a Markdown
table.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from looks import looks
from recall import Records, folders, read

from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.core.arrays import FloatArray
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
from mlflow_recall.workflows.probes import DEFAULT_SCORES

#: names of the scores that a recall uses, letters only; the first two of a record where it has none
USED = {"logme", "hscore", "reghscore"}
#: models that a record needs
LEAST = 10
COLUMNS = ("by features", "by scores", "by both")


def zoo(namespace: str) -> Records:
    """Every text model of a zoo with weights, on every dataset that can be had again."""
    with services("", namespace, "local", 1, 1) as work:
        found = list(looks(work.bench, "accuracy", "text"))
        members = {member.name: member for member in work.bench.registry.members()}
    models = tuple(sorted(set.intersection(*(set(look.probes) for look in found))))
    columns = model_features([members[name] for name in models])
    scored = {
        (look.dataset, name): compute_all(
            DEFAULT_SCORES, ForwardPass(seen.labels, seen.embeddings)
        ).values
        for look in found
        for name, seen in look.probes.items()
    }
    return Records(
        namespace,
        "accuracy",
        PerformanceMatrix(
            models,
            tuple(look.dataset for look in found),
            np.array([[look.reached[name] for look in found] for name in models]),
        ),
        {
            score: np.array(
                [[scored[look.dataset, m].get(score, np.nan) for look in found] for m in models]
            )
            for score in DEFAULT_SCORES
        },
        {name: dict(zip(models, column, strict=True)) for name, column in columns.items()},
    )


def features_of(records: Records) -> dict[str, FeatureColumn]:
    """Columns of the models, or the parts of their names: words between signs, letters first."""
    models = records.matrix.models
    if not records.model_features:
        parts = [re.split(r"[|_\-/ ]", name) for name in models]
        columns: dict[str, FeatureColumn] = {
            f"part {i}": [words[i] if i < len(words) else "" for words in parts]
            for i in range(max(map(len, parts)))
        }
        columns["letters"] = [re.split("[^a-zA-Z]", name)[0] for name in models]
        return columns
    found: dict[str, FeatureColumn] = {}
    for name, column in records.model_features.items():
        blank: float | str = "" if any(isinstance(v, str) for v in column.values()) else np.nan
        values = [column.get(model, blank) for model in models]
        numbers = np.array([v for v in values if not isinstance(v, str) and v == v])
        if len(numbers) and numbers.min() > 0 and numbers.max() > 100 * numbers.min():
            values = [float(np.log(v)) for v in values]
        found[name] = values
    return found


def scores_of(records: Records) -> dict[str, FloatArray]:
    plain = {name: re.sub(r"[^a-z]", "", name.lower()) for name in records.usable}
    used = {n: records.usable[n] for n, p in plain.items() if p in USED}
    return used or dict(list(records.usable.items())[:2])


def met(
    records: Records, model: int, datasets: int, most: int
) -> tuple[ColdStartEstimate, ColdStartEstimate] | None:
    """What features, and features with scores, say of one model as if it had no history."""
    matrix, scores = records.matrix, scores_of(records)
    values = matrix.values.copy()
    values[model] = np.nan
    before = PerformanceMatrix(matrix.models, matrix.datasets, values)
    features = features_of(records)
    has = np.all([~np.isnan(v).all(axis=1) for v in scores.values()], axis=0)
    alone = estimate_from_features(before, no_clusters(), features)
    alone = [each for each in alone if each.model == matrix.models[model]]
    if not alone:
        return None
    can = {name for name, yes in zip(matrix.models, has, strict=True) if yes}
    beside = reference_models(before, features, can, most)
    scored = [
        name
        for j, name in enumerate(matrix.datasets)
        if all(~np.isnan(v[model, j]) for v in scores.values())
    ]
    chosen = most_measured(before, scored, datasets)
    seen = np.full(values.shape, False)
    rows = [matrix.models.index(name) for name in (matrix.models[model], *beside)]
    seen[np.ix_(rows, [matrix.datasets.index(name) for name in chosen])] = True
    past = {name: np.where(seen, v, np.nan) for name, v in scores.items()}
    (both,) = score_cold_start(alone, before, no_clusters(), features, past)
    return alone[0], both


def row(records: Records, datasets: int, most: int) -> Mapping[str, object]:
    matrix, scores = records.matrix, scores_of(records)
    truth, said, likes, weights = [], [], [], []
    z = matrix.values - np.nanmean(matrix.values, axis=0)
    z = z / np.nanstd(z, axis=0)
    for model in np.flatnonzero(
        np.all([~np.isnan(v).all(axis=1) for v in scores.values()], axis=0)
        & ~np.isnan(matrix.mean_z_score)
    ):
        if (found := met(records, int(model), datasets, most)) is None:
            continue
        alone, both = found
        truth.append(matrix.mean_z_score[model])
        said.append([alone.z_score, both.score_z_score, both.z_score])
        weights.append(both.score_weight)
        rows = [matrix.models.index(each.nearest_model) for each in found]
        likes.append([np.nanmean(np.abs(z[model] - z[other])) for other in rows])
    told, strength = np.array(said), np.array(truth)
    correlation = [np.corrcoef(column, strength)[0, 1] for column in told.T]
    error = np.sqrt(np.mean((told - strength[:, None]) ** 2, axis=0))
    return {
        "record": f"{records.name}, {records.metric}",
        "models": len(strength),
        "scores": ", ".join(scores),
        **{
            name: f"{r:.2f} ({e:.2f})"
            for name, r, e in zip(COLUMNS, correlation, error, strict=True)
        },
        "weight of scores": f"{np.mean(weights):.2f}",
        "distance to the likeness": " → ".join(f"{x:.2f}" for x in np.mean(likes, axis=0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--namespace", help="of a zoo; by default none is looked at")
    parser.add_argument("--datasets", type=int, default=3)
    parser.add_argument("--references", type=int, default=8)
    asked = parser.parse_args()
    rows = [row(zoo(asked.namespace), asked.datasets, asked.references)] if asked.namespace else []
    for folder in folders(asked.folders):
        for metric in FolderHistory(folder).metrics():
            records = read(folder, metric)
            has = [~np.isnan(v).all(axis=1) for v in scores_of(records).values()]
            if has and np.all(has, axis=0).sum() >= LEAST:
                rows.append(row(records, asked.datasets, asked.references))
    print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    print("\n".join(f"| {' | '.join(map(str, each.values()))} |" for each in rows))


if __name__ == "__main__":
    main()
