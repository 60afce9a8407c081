"""Should a score see embeddings as they are, or at length one?

    python benchmarks/normalize.py [--namespace recall/example] [--modality text] [--most N]

Every model with weights is probed on every recorded dataset that can be prepared again (those that
`cluster --probe-new` can use). Each score of embeddings is computed on the embeddings as they are
and on those of length one, and compared with the recorded test scores of the same models. Prints a
Markdown table of the mean rank correlation over datasets, and of the paired difference.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from scipy.stats import spearmanr
from zoo_probes import DatasetProbes, open_zoo, probe_datasets

from mlflow_recall.core.scores import SCORES, ForwardPass, compute_all

FEATURE_SCORES = tuple(name for name, score in SCORES.items() if score.needs == "embeddings")
#: models that a dataset needs
MIN_MODELS = 5


def compute_both(dataset: DatasetProbes) -> dict[tuple[str, bool], dict[str, float]]:
    """Return (score, at length one) -> model -> value."""
    scores: dict[tuple[str, bool], dict[str, float]] = defaultdict(dict)
    for model, probe in dataset.probes.items():
        for unit in (False, True):
            forward_pass = ForwardPass(
                labels=probe.labels, embeddings=probe.embeddings, normalize=unit
            )
            for name, value in compute_all(FEATURE_SCORES, forward_pass).values.items():
                scores[name, unit][model] = value
    return scores


def rank_correlation(values: Mapping[str, float], final_scores: Mapping[str, float]) -> float:
    """Return the rank correlation of a score with the test scores; NaN for too few models."""
    models = [model for model in values if not np.isnan(final_scores[model])]
    if len(models) < MIN_MODELS:
        return np.nan
    return float(spearmanr([values[m] for m in models], [final_scores[m] for m in models])[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", default="recall/example")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--modality", default="text")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--most", type=int, help="datasets, at most")
    options = parser.parse_args()
    correlations: dict[tuple[str, bool], list[float]] = defaultdict(list)
    with open_zoo(options.namespace, options.workers) as services:
        for dataset in probe_datasets(services, options.metric, options.modality, options.most):
            for key, values in compute_both(dataset).items():
                correlations[key].append(rank_correlation(values, dataset.final_scores))
    print("| score | datasets | as they are | at length one | difference |\n|---|---|---|---|---|")
    for name in FEATURE_SCORES:
        plain, unit = np.array(correlations[name, False]), np.array(correlations[name, True])
        difference = (unit - plain)[~np.isnan(unit - plain)]
        count = len(difference)
        error = difference.std(ddof=1) / count**0.5 if count > 1 else np.nan
        print(
            f"| `{name}` | {count} | {np.nanmean(plain):.3f} | {np.nanmean(unit):.3f} | "
            f"{difference.mean():+.3f} ± {error:.3f} |"
        )


if __name__ == "__main__":
    main()
