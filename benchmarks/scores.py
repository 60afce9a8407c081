"""Seconds of every transferability score beside a numpy or scikit-learn primitive of like cost.

    python benchmarks/scores.py [--size n,d,classes ...] [--only NAME ...] [--json FILE]

Each score is measured alone, decomposition included. ``all features`` is every score of embeddings
of one model on one decomposition, and ``diagnose`` checks the scores of three models. The ratio
says how far a score is from its primitive: what numpy or scikit-learn need for the heaviest step
alone. Seconds are processor seconds of one thread, which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import SCORES, ForwardPass, compute_all, diagnose

SIZES = [(500, 768, 10), (2000, 1024, 100), (10000, 2048, 1000)]
FEATURES = [name for name, score in SCORES.items() if score.needs == "embeddings"]


def make_target(n: int, d: int, classes: int, seed: int = 0) -> ForwardPass:
    """Return embeddings with a decaying spectrum, and a source head of 1000 classes."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    scale = 1.0 / np.sqrt(1.0 + np.arange(d) / 20.0)
    embeddings = scale * (rng.normal(size=(n, d)) + 0.3 * rng.normal(size=(classes, d))[labels])
    head = rng.gamma(0.05, size=(n, 1000)) + 1e-9
    return ForwardPass(
        labels=labels, embeddings=embeddings, probabilities=head / head.sum(axis=1, keepdims=True)
    )


def gram(rows: FloatArray) -> FloatArray:
    product: FloatArray = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    return product


def primitives(
    forward_pass: ForwardPass, classes: int
) -> dict[str, tuple[str, Callable[[], object]]]:
    """Return name -> what it is, and the call."""
    rows, head = forward_pass.embeddings, forward_pass.probabilities
    assert rows is not None  # noqa: S101
    assert head is not None  # noqa: S101
    n = len(rows)
    half, queries = rows[: n // 2], rows[:2000]
    components = max(2, min(5 * classes, n // 20))
    pairs = np.random.default_rng(0).random(min(n, 2000) * (min(n, 2000) - 1) // 2)
    return {
        "pass": ("numpy: head * head", lambda: head * head),
        "eigh": ("numpy: eigh of the smaller Gram matrix", lambda: np.linalg.eigh(gram(rows))),
        "gram": ("numpy: the smaller Gram matrix", lambda: gram(rows)),
        "sort": ("numpy: argsort of the pairs", lambda: np.argsort(pairs)),
        "brute": (
            "scikit-learn: brute-force neighbors",
            lambda: (
                NearestNeighbors(n_neighbors=6, algorithm="brute").fit(rows).kneighbors(queries)
            ),
        ),
        "kmeans": (
            f"scikit-learn: k-means of one half, k = {components}",
            lambda: KMeans(components, n_init=1, random_state=0).fit(half),
        ),
    }


#: score -> the primitives that it is measured beside
BESIDE = {
    "leep": ("pass",),
    "nce": ("pass",),
    "nleep": ("eigh", "kmeans"),
    "logme": ("eigh",),
    "hscore": ("eigh",),
    "parc": ("eigh", "sort"),
    "lfc": ("gram",),
    "knn": ("brute",),
    "linear_probe": ("eigh",),
    "transrate": ("eigh",),
    "gbc": ("eigh",),
    "all features": ("eigh", "sort", "gram", "brute", "kmeans"),
}


def simple_baselines(rows: FloatArray, labels: AnyArray, n: int) -> dict[str, Callable[[], object]]:
    """Return name -> call of what one would write first, for comparison."""
    from sklearn.linear_model import LogisticRegression, RidgeClassifierCV

    calls: dict[str, Callable[[], object]] = {
        "numpy: thin SVD": lambda: np.linalg.svd(rows, full_matrices=False)
    }
    if n <= 2000:
        calls["scikit-learn: RidgeClassifierCV, one penalty"] = lambda: RidgeClassifierCV(
            [1.0]
        ).fit(rows, labels)
    if n <= 500:
        calls["scikit-learn: one LogisticRegression fit"] = lambda: LogisticRegression(
            max_iter=200
        ).fit(rows, labels)
    return calls


def seconds(call: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        call()
        best = min(best, time.process_time() - started)
    return best


def compute_from_scratch(names: list[str], known: ForwardPass) -> object:
    """Compute scores of a model whose embeddings are not decomposed yet."""
    return compute_all(
        names,
        ForwardPass(
            labels=known.labels, embeddings=known.embeddings, probabilities=known.probabilities
        ),
    )


def measure(n: int, d: int, classes: int, only: list[str]) -> list[dict[str, object]]:
    forward_pass = make_target(n, d, classes)
    assert forward_pass.embeddings is not None  # noqa: S101
    repeats = 5 if n <= 500 else 2 if n <= 2000 else 1
    names = [name for name in BESIDE if not only or name in only]
    known = primitives(forward_pass, classes)
    needed = {key for name in names for key in BESIDE[name]}
    base = {key: seconds(known[key][1], repeats) for key in known if key in needed}
    rows: list[dict[str, object]] = []

    def add(name: str, took: float, beside: float | None = None, primitive: str = "") -> None:
        ratio = None if beside is None else took / beside
        size = {"n": n, "d": d, "classes": classes}
        rows.append({**size, "what": name, "seconds": took, "ratio": ratio, "beside": primitive})
        shown = "" if ratio is None else f"{ratio:8.2f}  {primitive}"
        print(f"{n:6} {d:5} {classes:5}  {name:45} {took:9.4f} {shown}", flush=True)

    for name in names:
        computed = FEATURES if name == "all features" else [name]
        primitive = " + ".join(known[key][0].split(": ")[1] for key in BESIDE[name])
        add(
            name,
            seconds(partial(compute_from_scratch, computed, forward_pass), repeats),
            sum(base[key] for key in BESIDE[name]),
            primitive,
        )
    for key in base:
        add(known[key][0], base[key])
    if not only:
        models = {str(i): make_target(n, d, classes, i) for i in range(3)}
        models = {
            m: ForwardPass(labels=forward_pass.labels, embeddings=p.embeddings)
            for m, p in models.items()
        }
        for checked in (("logme", "hscore", "lfc"), ("logme",)):
            if n <= 2000:
                took = seconds(partial(diagnose, checked, models), 1)
                add(f"diagnose, 3 models: {' '.join(checked)}", took)
        for name, call in simple_baselines(forward_pass.embeddings, forward_pass.labels, n).items():
            add(name, seconds(call, 1))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", nargs="+", metavar="N,D,CLASSES", help="default: three sizes")
    parser.add_argument("--only", nargs="+", default=[], choices=list(BESIDE), metavar="NAME")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    sizes = [tuple(map(int, size.split(","))) for size in options.size] if options.size else SIZES
    print(f"{'n':>6} {'d':>5} {'c':>5}  {'what':45} {'seconds':>9} {'ratio':>8}  beside")
    rows = [row for n, d, c in sizes for row in measure(n, d, c, options.only)]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
