"""Do class names, and the depth term of a score, help the regressions?

    python benchmarks/optional_features.py --encoder MODEL [--namespace recall/example]

Holds out one recorded dataset at a time, of those that can be prepared again. `linear` and
`factorization` rank by the history and features of models: with and without the distance of class
names, with and without PARC, and with PARC and its depth term. Prints a Markdown table of regrets
and rank correlations, and of the paired difference to the row above without the feature.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import spearmanr
from zoo_probes import DatasetProbes, open_zoo, probe_datasets

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.holdout import hold_out_each
from mlflow_recall.core.backtest.recommender_comparison import (
    RecommenderComparison,
    compare_recommenders,
)
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend.cold_start import model_features
from mlflow_recall.core.recommend.evidence import Features
from mlflow_recall.core.recommend.label_distance import label_distances
from mlflow_recall.core.scores import parc, with_depth
from mlflow_recall.workflows.text_encoder import load_encoder

RECOMMENDERS = ("linear", "factorization")
#: what a recommender is given -> the same without the feature in question
WITHOUT = {"… and class names": "history and features", "… and PARC with depth": "… and PARC"}


def compute_parc(datasets: Sequence[DatasetProbes], models: Sequence[str]) -> dict[str, FloatArray]:
    """Return (m, d) PARC of every model on every dataset, as it is and with the depth term."""
    plain = np.array(
        [
            [parc(dataset.probes[m].embeddings, dataset.probes[m].labels) for m in models]
            for dataset in datasets
        ]
    )
    layers = [[dataset.probes[model].layers or 0 for model in models] for dataset in datasets]
    deep = np.array([with_depth(row, counts) for row, counts in zip(plain, layers, strict=True)])
    return {"parc": plain.T, "parc+depth": deep.T}


def compare(
    matrix: PerformanceMatrix,
    scores: Mapping[str, FloatArray],
    features: Features,
    distances: FloatArray | None = None,
) -> RecommenderComparison:
    """Compare the recommenders with every dataset as the target once.

    Args:
        matrix: (m, d) test scores.
        scores: Score -> (m, d) values.
        features: Features of the models.
        distances: (d, d) distances of class names; None: they are not compared.
    """
    targets = hold_out_each(matrix, scores, features)
    if distances is not None:
        orders = [
            [j for j, name in enumerate(matrix.datasets) if name != target.dataset]
            + [matrix.datasets.index(target.dataset)]
            for target in targets
        ]
        targets = [
            replace(
                target,
                evidence=replace(target.evidence, label_distance=distances[np.ix_(order, order)]),
            )
            for target, order in zip(targets, orders, strict=True)
        ]
    return compare_recommenders(targets, RECOMMENDERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", default="recall/example")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--modality", default="text")
    parser.add_argument("--encoder", required=True, help="text model that compares class names")
    options = parser.parse_args()
    with open_zoo(options.namespace) as services:
        datasets = list(probe_datasets(services, options.metric, options.modality))
        members = {member.name: member for member in services.registry.members()}
        encode = load_encoder(options.encoder, services)
    models = sorted(set.intersection(*(set(dataset.probes) for dataset in datasets)))
    values = np.array([[dataset.final_scores[model] for dataset in datasets] for model in models])
    matrix = PerformanceMatrix(tuple(models), tuple(d.dataset for d in datasets), values)
    columns = model_features([members[model] for model in models])
    features = {name: dict(zip(models, column, strict=True)) for name, column in columns.items()}
    distances = label_distances([dataset.classes for dataset in datasets], encode)
    scores = compute_parc(datasets, models)
    comparisons = {
        "history and features": compare(matrix, {}, features),
        "… and class names": compare(matrix, {}, features, distances),
        "… and PARC": compare(matrix, {"parc": scores["parc"]}, features),
        "… and PARC with depth": compare(matrix, {"parc+depth": scores["parc+depth"]}, features),
    }
    print(f"{len(models)} models, {len(datasets)} datasets")
    for name, table in scores.items():
        correlations = [spearmanr(s, v)[0] for s, v in zip(table.T, values.T, strict=True)]
        print(f"{name} alone: rank correlation {np.mean(correlations):.3f}")
    print("| recommender | given | regret@1 | regret@5 | Spearman | difference to without |")
    print("|---|---|---|---|---|---|")
    for name in RECOMMENDERS:
        for title, comparison in comparisons.items():
            result = comparison.results[name]
            means = [f"{result.summary[m].mean:.4f}" for m in ("regret@1", "regret@5", "spearman")]
            difference = ""
            if title in WITHOUT:
                other = comparisons[WITHOUT[title]].results[name]
                regret = result.paired_difference(other, "regret@1")
                rank = result.paired_difference(other, "spearman")
                difference = (
                    f"{regret[0]:+.4f} ± {regret[1]:.4f}, Spearman {rank[0]:+.3f} ± {rank[1]:.3f}"
                )
            print(f"| {name} | {title} | {' | '.join(means)} | {difference} |")


if __name__ == "__main__":
    main()
