"""Should a score see embeddings as they are, or at length one? By what was recorded.

    python benchmarks/normalize.py [--namespace recall/example] [--modality text] [--most N]

Every recorded dataset that can be had again (`cluster --probe-new` says which) is looked at by
every model with weights; each feature score is computed on the embeddings as they are and on those
of length one, and compared with the recorded test scores of the same models. Prints a Markdown
table of the mean over datasets of the rank correlation, and of the paired difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
from looks import Look, looks
from scipy.stats import spearmanr

from mlflow_recall.core.scores import SCORES, ForwardPass, compute_all

FEATURES = tuple(name for name, score in SCORES.items() if score.needs == "embeddings")
#: models that a dataset needs
LEAST = 5


def scored(look: Look) -> dict[tuple[str, bool], dict[str, float]]:
    """(score, at length one) -> model -> value."""
    found: dict[tuple[str, bool], dict[str, float]] = {}
    for model, seen in look.probes.items():
        for unit in (False, True):
            given = ForwardPass(seen.labels, seen.embeddings, normalize=unit)
            for name, value in compute_all(FEATURES, given).values.items():
                found.setdefault((name, unit), {})[model] = value
    return found


def agreement(values: Mapping[str, float], reached: Mapping[str, float]) -> float:
    """Rank correlation of a score with what the same models reached; NaN for too few."""
    both = [name for name in values if reached[name] == reached[name]]
    if len(both) < LEAST:
        return np.nan
    return float(spearmanr([values[n] for n in both], [reached[n] for n in both])[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", default="recall/example")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--modality", default="text")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--most", type=int, help="datasets at most")
    asked = parser.parse_args()
    told: dict[tuple[str, bool], list[float]] = {}
    with services("", asked.namespace, "local", asked.workers, 1) as work:
        for look in looks(work.bench, asked.metric, asked.modality, asked.most):
            for key, values in scored(look).items():
                told.setdefault(key, []).append(agreement(values, look.reached))
    print("| score | datasets | as they are | at length one | difference |\n|---|---|---|---|---|")
    for name in FEATURES:
        plain, unit = np.array(told[name, False]), np.array(told[name, True])
        apart = (unit - plain)[~np.isnan(unit - plain)]
        error = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else np.nan
        print(
            f"| `{name}` | {len(apart)} | {np.nanmean(plain):.3f} | {np.nanmean(unit):.3f} | "
            f"{apart.mean():+.3f} ± {error:.3f} |"
        )


if __name__ == "__main__":
    main()
