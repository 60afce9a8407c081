"""Do class names, and the depth term of a score, help the regressions? By what was recorded.

    python benchmarks/optional_features.py --encoder MODEL [--namespace recall/example]

Leaves one recorded dataset out at a time, of those that can be had again. `linear` and
`factorization` rank by the history and features of models, with and without the distance of class
names; with and without PARC, and PARC with its depth term. Prints a Markdown table of regrets and
rank correlations, and of the paired difference in regret to the row above without the feature.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from looks import Look, looks
from scipy.stats import spearmanr

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.holdout import hold_out_each
from mlflow_recall.core.backtest.recommender_comparison import (
    RecommenderComparison,
    compare_recommenders,
)
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend.cold_start import model_features
from mlflow_recall.core.recommend.label_distance import label_distances
from mlflow_recall.core.scores import parc, with_depth
from mlflow_recall.workflows.text_encoder import load_encoder

NAMES = ("linear", "factorization")


def scores_of(found: list[Look], models: list[str]) -> dict[str, FloatArray]:
    """(m, d) PARC of every model on every dataset, as it is and with the depth term."""
    plain = np.array(
        [[parc(s.embeddings, s.labels) for s in (look.probes[m] for m in models)] for look in found]
    )
    layers = [[look.probes[model].layers for model in models] for look in found]
    deep = np.array([with_depth(s, n) for s, n in zip(plain, layers, strict=True)])
    return {"parc": plain.T, "parc+depth": deep.T}


def judged(
    matrix: PerformanceMatrix,
    scores: dict[str, FloatArray],
    features: dict[str, dict[str, float | str]],
    distances: FloatArray | None = None,
) -> RecommenderComparison:
    """Every dataset as the target once."""
    given = hold_out_each(matrix, scores, features)
    if distances is not None:
        order = [
            [j for j, name in enumerate(matrix.datasets) if name != case.dataset]
            + [matrix.datasets.index(case.dataset)]
            for case in given
        ]
        given = [
            replace(c, evidence=replace(c.evidence, label_distance=distances[np.ix_(o, o)]))
            for c, o in zip(given, order, strict=True)
        ]
    return compare_recommenders(given, NAMES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", default="recall/example")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--modality", default="text")
    parser.add_argument("--encoder", required=True)
    asked = parser.parse_args()
    with services("", asked.namespace, "local", 1, 1) as work:
        found = list(looks(work.bench, asked.metric, asked.modality))
        members = {m.name: m for m in work.bench.registry.members()}
        encode = load_encoder(asked.encoder, work.bench)
    models = sorted(set.intersection(*(set(look.probes) for look in found)))
    values = np.array([[look.reached[model] for look in found] for model in models])
    matrix = PerformanceMatrix(tuple(models), tuple(look.dataset for look in found), values)
    columns = model_features([members[model] for model in models])
    features = {name: dict(zip(models, c, strict=True)) for name, c in columns.items()}
    distances = label_distances([look.classes for look in found], encode)
    scores = scores_of(found, models)
    parcs = {name: {name: values} for name, values in scores.items()}
    contests = {
        "history and features": judged(matrix, {}, features),
        "… and class names": judged(matrix, {}, features, distances),
        "… and PARC": judged(matrix, parcs["parc"], features),
        "… and PARC with depth": judged(matrix, parcs["parc+depth"], features),
    }
    before = {"… and class names": "history and features", "… and PARC with depth": "… and PARC"}
    print(f"{len(models)} models, {len(found)} datasets")
    for name, table in scores.items():
        agree = [spearmanr(s, v)[0] for s, v in zip(table.T, values.T, strict=True)]
        print(f"{name} alone: rank correlation {np.mean(agree):.3f}")
    print("| recommender | given | regret@1 | regret@5 | Spearman | against without |")
    print("|---|---|---|---|---|---|")
    for name in NAMES:
        for title, held in contests.items():
            one = held.results[name]
            told = [f"{one.summary[m].mean:.4f}" for m in ("regret@1", "regret@5", "spearman")]
            against = ""
            if title in before:
                apart = one.paired_difference(contests[before[title]].results[name], "regret@1")
                rank = one.paired_difference(contests[before[title]].results[name], "spearman")
                against = (
                    f"{apart[0]:+.4f} ± {apart[1]:.4f}, Spearman {rank[0]:+.3f} ± {rank[1]:.3f}"
                )
            print(f"| {name} | {title} | {' | '.join(told)} | {against} |")


if __name__ == "__main__":
    main()
