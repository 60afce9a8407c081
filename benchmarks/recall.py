"""Which recommender picks best? Leave one dataset out of recorded fine-tunings and look.

    python benchmarks/recall.py FOLDER... [--metric NAME] [--minimize NAME] [--to docs/recall.md]

A FOLDER has tables as `FolderHistory` reads them and a `meta.json`, or is a folder of such
folders. Every metric of every folder is measured in turn. `--paper-zoo A --targets B` also takes
the matrix of folder A as the only history and judges on datasets of folder B that A never used.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy.special import gammaln
from scipy.stats import rankdata

from mlflow_recall.adapters.tables import FolderHistory
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clustering import Clustering, cluster
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import (
    RECOMMENDERS,
    Evidence,
    Ranking,
    held_out,
    predicted_gaps,
    smallest_set,
)
from mlflow_recall.errors import RecallError

SIZES = (1, 3, 5, 10)
MEASURES = (*(f"regret@{k}" for k in SIZES), "spearman", "pearson")
SHOWN = (
    "prior",
    "prior_rank",
    "paper",
    "paper_code",
    "interleaved",
    "linear",
    "factorization",
    "blend",
    "portfolio",
)
#: models that a dataset and a score need to be measured on
LEAST = 5
#: text of docs/recall.md around the tables
BEFORE = """# Which models to train

This page is written by `python benchmarks/recall.py FOLDER... --to docs/recall.md`.

A recommender ranks the models of a zoo for a dataset that none of them has seen. It may know their
*history* (what they reached on other datasets) and *scores* (cheap transferability estimates of
models on the dataset itself, such as LogME).

| recommender | what it does | use it |
|---|---|---|
| `prior` | mean z-score over the recorded datasets | always look at it: it is a strong baseline |
| `prior_rank` | mean place over the recorded datasets | where single runs collapse |
| `paper`, `paper_code` | Eq. 2-4 of the paper; as its authors' code has them | to compare |
| `interleaved` | one from the prior, one from the scores, in turn | a plain set of candidates |
| `linear`, `factorization` | regression on all that is known; with products | values, new models |
| `blend` | prior + about half the mean of the scores, on normal scores | **to rank** (default) |
| `portfolio` | the set with the highest expected best, by joint draws | **to train** (default) |

**Regret** is how much the best of the first k picks lacks to the best model of the zoo, in the unit
of the metric, lower is better; ± is one standard error over datasets. Every dataset is left out in
turn: nothing that was measured on it is used, except its scores. Only models that were measured on
it are ranked. `random` is the exact expectation of drawing without replacement. Spearman and
Pearson compare predicted and true scores of a dataset's models; `interleaved` and `portfolio` rank
sets, so their scores are reciprocal places and their Pearson means little. `paper` uses LogME, or
the first score by name, of the clusters' representatives. Missing rows: without scores there is
nothing that the paper could multiply with.

Gaps to the best model are predicted from places in the ranking. Their intervals are conformal over
whole datasets and nested: the dataset that is judged has no part in them. The probability that a
set holds a near-best model comes from joint errors of whole datasets; near is within 0.01 for
metrics up to 1, within 1 for percentages. `smallest_set` takes as many of the first as were enough
on all but a tenth of the recorded datasets, the target counted as one more.

The records:
"""
AFTER = """
## What was tried

- Standardising by z-scores in `blend`: more Pearson (0.89 against 0.83 on LoRA), but outliers of a
  score decide the first pick: regret 0.025 against 0.009 (full fine-tuning). Ranks in place of
  normal scores: much like them, a little worse.
- Weights of `blend` from the recorded datasets alone: their own best weights scatter by about 0.2
  each, and regret does not improve on the default. Sixteen datasets' worth of default was chosen
  among six strengths (0 to infinite) that differ by less than a standard error; Spearman is flat.
- Spreading a score to other models by a Gaussian process over the history's covariance: first picks
  several times worse on the paper's own zoo.
- `portfolio` from the history's joint errors alone is no better than the prior's first k. What
  makes the difference is to suppose that the history *or* the scores are right. Near-best
  probability in place of the expected best as the aim, other shares of common errors, two or four
  suppositions: within the noise.
- Other priors (mean score, median, robust z, gap in units of the spread): none better than the mean
  z-score on average.
- Squares and products in `linear`: worse on the vision records; products are in `factorization`,
  which falls back to `linear` where they do not predict held-out datasets.

Differences between recommenders of less than a standard error are no differences, and with 8 to 21
targets most are that small. The choices above were made on these same records, so the figures are
somewhat flattering: run the command on records of your own.
"""
Row = dict[str, float]
Case = TypeVar("Case")


@dataclass(frozen=True)
class Records:
    """One metric of one folder, higher is better."""

    name: str
    metric: str
    matrix: PerformanceMatrix
    #: score -> (m, d)
    scores: Mapping[str, FloatArray]
    model_features: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    dataset_features: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    meta: Mapping[str, object] = field(default_factory=dict)


# --- reading ---------------------------------------------------------------------------------


def folders(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if any(path.glob("matrix.*")):
            yield path
        else:
            yield from sorted(p for p in path.iterdir() if any(p.glob("matrix.*")))


def read(folder: Path, metric: str, minimize: Sequence[str] = ()) -> Records:
    history = FolderHistory(folder, minimize=metric in minimize)
    matrix = PerformanceMatrix.of(history.records(metric))
    meta = folder / "meta.json"
    return Records(
        folder.name,
        metric,
        matrix,
        {
            name: np.array(
                [[cells.get((m, d), np.nan) for d in matrix.datasets] for m in matrix.models]
            )
            for name, cells in history.scores().items()
        },
        history.model_features(),
        history.dataset_features(),
        json.loads(meta.read_text()) if meta.exists() else {},
    )


def column(features: Mapping[str, float | str], names: Sequence[str]) -> list[float | str]:
    blank: float | str = "" if any(isinstance(v, str) for v in features.values()) else float("nan")
    return [features.get(name, blank) for name in names]


# --- one target ------------------------------------------------------------------------------


def targets(records: Records) -> list[int]:
    """Datasets to predict: those with scores where at least two have any, else all."""
    enough = (~np.isnan(records.matrix.values)).sum(axis=0) >= LEAST
    scored = np.zeros(len(records.matrix.datasets), dtype=bool)
    for values in usable_scores(records).values():
        scored |= ((~np.isnan(values)) & ~np.isnan(records.matrix.values)).sum(axis=0) >= LEAST
    return np.flatnonzero(enough & scored if scored.sum() >= 2 else enough).tolist()


def usable_scores(records: Records) -> dict[str, FloatArray]:
    """Scores that were computed on at least two datasets: one that is the same for all is none."""
    return {
        name: values
        for name, values in records.scores.items()
        if ((~np.isnan(values)).sum(axis=0) >= LEAST).sum() >= 2
    }


def main_score(scores: Mapping[str, object]) -> str:
    return next((n for n in sorted(scores) if n.lower() == "logme"), min(scores, default=""))


def leave_out(
    records: Records, target: int, *, only: str = "", representatives: bool = False
) -> tuple[Evidence, FloatArray]:
    """What was known before dataset number ``target``, and what then came out."""
    matrix = records.matrix
    known = np.delete(matrix.values, target, axis=1)
    keep = ~np.isnan(matrix.values[:, target]) & ~np.isnan(known).all(axis=1)
    models = tuple(np.array(matrix.models, dtype=object)[keep])
    datasets = tuple(np.delete(np.array(matrix.datasets, dtype=object), target))
    history = PerformanceMatrix(models, datasets, known[keep])
    scores, past = {}, {}
    for name, values in usable_scores(records).items():
        if (~np.isnan(values[keep, target])).sum() >= LEAST and only in ("", name):
            scores[name] = values[keep, target]
            past[name] = np.delete(values, target, axis=1)[keep]
    clustering = grouped(history) if scores else unclustered()
    if representatives:
        probed = np.isin(models, clustering.probes)
        scores = {name: np.where(probed, values, np.nan) for name, values in scores.items()}
    own = records.matrix.datasets[target]
    evidence = Evidence(
        history,
        clustering,
        scores=scores,
        past=past,
        model_features={n: column(f, models) for n, f in records.model_features.items()},
        dataset_features={n: column(f, datasets) for n, f in records.dataset_features.items()},
        target_features={n: column(f, [own])[0] for n, f in records.dataset_features.items()},
    )
    return evidence, matrix.values[keep, target]


def grouped(matrix: PerformanceMatrix) -> Clustering:
    """Twice as many clusters as the root of the number of models, many of them singletons."""
    m = len(matrix.models)
    return cluster(matrix, count=min(m, max(2, round(2 * m**0.5))))


def unclustered() -> Clustering:
    return Clustering((), float("nan"), float("nan"), (), np.empty((0, 0)))


def judged(ranking: Ranking, models: Sequence[str], truth: FloatArray) -> Row:
    """Regret of the first k, and agreement of predicted and true scores."""
    of = dict(zip(models, truth, strict=True))
    true = np.array([of[model] for model in ranking.models])
    row = {f"regret@{k}": float(true.max() - true[:k].max()) for k in SIZES}
    known = np.isfinite(ranking.scores)
    predicted = np.where(known, ranking.scores, ranking.scores[known].min() if known.any() else 0.0)
    row["spearman"] = correlation(rankdata(predicted), rankdata(true))
    row["pearson"] = correlation(predicted, true)
    return row


def correlation(a: FloatArray, b: FloatArray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def by_chance(truth: FloatArray) -> Row:
    """Expected regret of the best of k drawn at random, exactly."""
    gaps = np.sort(truth.max() - truth)
    m = len(gaps)

    def log_choose(n: FloatArray, k: int) -> FloatArray:
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)

    row = dict.fromkeys(MEASURES, float("nan"))
    for k in SIZES:
        left = np.arange(m, dtype=np.float64)[::-1]
        p = np.where(
            left >= k - 1, np.exp(log_choose(left, k - 1) - log_choose(np.full(1, float(m)), k)), 0
        )
        row[f"regret@{k}"] = float(p @ gaps) if k <= m else 0.0
    return row


def rankings(evidence: Evidence, names: Sequence[str]) -> Iterator[tuple[str, Ranking]]:
    first = main_score(evidence.scores)
    for name in names:
        given = evidence
        if name.startswith("paper"):  # one score, of the representatives
            given = Evidence(
                evidence.matrix,
                evidence.clustering,
                scores={first: evidence.scores[first]} if first else {},
            )
        try:
            yield name, RECOMMENDERS[name](given)
        except RecallError:
            continue  # without scores there is nothing to multiply


# --- experiments -----------------------------------------------------------------------------


def experiment(
    cases: Sequence[tuple[Evidence, FloatArray]], names: Sequence[str]
) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {"random": [by_chance(truth) for _, truth in cases]}
    for evidence, truth in cases:
        for name, ranking in rankings(evidence, names):
            found.setdefault(name, []).append(judged(ranking, evidence.matrix.models, truth))
    return {
        name if len(rows) == len(cases) else f"{name} ({len(rows)} targets)": rows
        for name, rows in found.items()
    }


def recommenders() -> list[str]:
    return [name for name in SHOWN if name in RECOMMENDERS]


def leave_one_out(records: Records, most: int) -> list[tuple[Evidence, FloatArray]]:
    return [leave_out(records, target) for target in spread_out(targets(records), most)]


def probes(records: Records) -> dict[str, dict[str, list[Row]]]:
    """Blend and portfolio by what was scored; one score and one table where there is one only."""
    chosen = targets(records)
    one = main_score(usable_scores(records))
    found: dict[str, dict[str, list[Row]]] = {}
    for title, options in (
        (f"{one} of representatives", {"only": one, "representatives": True}),
        (f"{one} of every model", {"only": one}),
        ("all scores of representatives", {"representatives": True}),
        ("all scores of every model", {}),
    ):
        cases = [leave_out(records, target, **options) for target in chosen]
        rows = experiment(cases, ["blend", "portfolio"])
        rows.pop("random")
        count = [
            {"probes": float(max((np.isfinite(v).sum() for v in e.scores.values()), default=0))}
            for e, _ in cases
        ]
        found[title] = {**rows, "probes": count}
    return found


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


def paper_zoo(history: Records, other: Records) -> list[tuple[Evidence, FloatArray]]:
    """The matrix of ``history`` as the only one, datasets of ``other`` as targets."""
    there = {plain(model): i for i, model in enumerate(other.matrix.models)}
    models = [model for model in history.matrix.models if plain(model) in there]
    rows = [there[plain(model)] for model in models]
    used = {plain(name.split("/")[-1]) for name in history.matrix.datasets}
    score = main_score(usable_scores(other))
    cases = []
    for j, dataset in enumerate(other.matrix.datasets):
        truth = other.matrix.values[rows, j]
        keep = ~np.isnan(truth)
        values = other.scores[score][rows, j] if score else np.full(len(rows), np.nan)
        if plain(dataset.split("/")[-1]) in used or keep.sum() < LEAST:
            continue
        matrix = history.matrix.take(m for m, kept in zip(models, keep, strict=True) if kept)
        scores = {score: values[keep]} if (~np.isnan(values[keep])).sum() >= LEAST else {}
        cases.append((Evidence(matrix, grouped(matrix), scores=scores), truth[keep]))
    return cases


def calibration(cases: Sequence[tuple[Evidence, FloatArray]], most: int = 12) -> dict[str, Row]:
    """Do intervals hold what they promise? Nested: the target is in none of its own."""
    found: dict[str, list[Row]] = {}
    for evidence, truth in spread_out(cases, most):
        tolerance = 0.01 if np.nanmax(np.abs(evidence.matrix.values)) <= 1 else 1.0
        gaps_of = dict(zip(evidence.matrix.models, truth.max() - truth, strict=True))
        for name in ("blend", "portfolio"):
            ranking = RECOMMENDERS[name](evidence)
            past = held_out(evidence, RECOMMENDERS[name])
            said = predicted_gaps(ranking, evidence.matrix, past, tolerance=tolerance)
            gap = np.array([gaps_of[model] for model in said.models])
            near = gap <= tolerance + 1e-9
            five = ranking.models[:5]
            chosen = smallest_set(ranking, past, tolerance=tolerance)
            found.setdefault(name, []).append(
                {
                    "gaps within the 80 % interval": float(
                        np.mean((gap >= said.low) & (gap <= np.nan_to_num(said.high, nan=np.inf)))
                    ),
                    "said P(within tolerance), mean": float(np.nanmean(said.within)),
                    "was within tolerance": float(near.mean()),
                    "Brier score of P(within)": float(np.nanmean((said.within - near) ** 2)),
                    "said P(first 5 hold a near-best)": said.p_holds_best(five),
                    "first 5 held one": float(min(gaps_of[m] for m in five) <= tolerance + 1e-9),
                    "models in the smallest set": float(len(chosen.models)),
                    "said P(smallest set holds one)": chosen.p_holds_best,
                    "smallest set held one": float(
                        min(gaps_of[m] for m in chosen.models) <= tolerance + 1e-9
                    ),
                    "Pearson of the predicted gap": correlation(-said.mean, -gap),
                }
            )
    return {name: {key: summary(rows)[key][0] for key in rows[0]} for name, rows in found.items()}


def spread_out(cases: Sequence[Case], most: int) -> list[Case]:
    """At most so many, evenly spaced."""
    if len(cases) <= most:
        return list(cases)
    return [cases[i] for i in np.linspace(0, len(cases) - 1, most).round().astype(int)]


def poster(records: Records, most: int = 12) -> dict[str, dict[str, list[Row]]]:
    """Settings 1 and 2 of Li et al. 2023: unseen models, and one dataset's history; 3 is above."""
    chosen = spread_out(targets(records), most)
    names = ["prior", "linear", "factorization", "blend"]
    found: dict[str, dict[str, list[Row]]] = {"1 unseen models": {}, "2 one dataset known": {}}
    for target in chosen:
        told = records.model_features or usable_scores(records)
        for fold in range(5 if told else 0):
            case = unseen_models(records, target, fold)
            if case is not None:
                add(found["1 unseen models"], *case, names)
        evidence, truth = leave_out(records, target)
        source = (target + 1) % evidence.matrix.values.shape[1]  # any one of the others
        add(found["2 one dataset known"], only_dataset(evidence, source), truth, names)
    return {what: by for what, by in found.items() if by}


def add(
    found: dict[str, list[Row]], evidence: Evidence, truth: FloatArray, names: Sequence[str]
) -> None:
    asked = ~np.isnan(truth)
    models = tuple(m for m, a in zip(evidence.matrix.models, asked, strict=True) if a)
    found.setdefault("random", []).append(by_chance(truth[asked]))
    for name, ranking in rankings(evidence, names):
        keep = np.isin(ranking.models, models)
        some = Ranking(tuple(m for m in ranking.models if m in models), ranking.scores[keep], {})
        found.setdefault(name, []).append(judged(some, models, truth[asked]))


def only_dataset(evidence: Evidence, dataset: int) -> Evidence:
    """The evidence with one recorded dataset."""
    one = slice(dataset, dataset + 1)
    matrix = PerformanceMatrix(
        evidence.matrix.models, evidence.matrix.datasets[one], evidence.matrix.values[:, one]
    )
    return replace(
        evidence,
        matrix=matrix,
        past={name: values[:, one] for name, values in evidence.past.items()},
        dataset_features={n: list(c)[one] for n, c in evidence.dataset_features.items()},
    )


def unseen_models(records: Records, target: int, fold: int) -> tuple[Evidence, FloatArray] | None:
    """A fifth of the models without any history; the others' on every dataset, target included."""
    evidence, truth = leave_out(records, target)
    models = evidence.matrix.models
    new = np.arange(len(models)) % 5 == fold
    values = np.column_stack([evidence.matrix.values, truth])
    values[new] = np.nan
    if new.sum() < 3 or np.ptp(truth[new]) == 0:
        return None
    own = records.matrix.datasets[target]
    matrix = PerformanceMatrix(models, (*evidence.matrix.datasets, own), values)
    past = {
        name: np.column_stack([known, evidence.scores[name]])
        for name, known in evidence.past.items()
    }
    past = {name: np.where(new[:, None], np.nan, v) for name, v in past.items()}
    seen = {n: [*c, evidence.target_features[n]] for n, c in evidence.dataset_features.items()}
    full = replace(
        evidence, matrix=matrix, past=past, dataset_features=seen, clustering=unclustered()
    )
    return full, np.where(new, truth, np.nan)


# --- writing ---------------------------------------------------------------------------------


def summary(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    found = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        values = values[~np.isnan(values)]
        mean = float(values.mean()) if len(values) else float("nan")
        error = (
            float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
        )
        found[name] = (mean, error)
    return found


def table(found: Mapping[str, Sequence[Row]], first: str = "recommender") -> str:
    head = f"| {first} | first pick | best of 3 | best of 5 | best of 10 | Spearman | Pearson |"
    lines = [head, "|---" * 7 + "|"]
    places = {k: decimals(found, f"regret@{k}") for k in SIZES}
    for name, rows in found.items():
        s = summary(rows)
        cells = [shown(*s[f"regret@{k}"], places[k]) for k in SIZES]
        cells += [shown(*s[measure], 2) for measure in ("spearman", "pearson")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def decimals(found: Mapping[str, Sequence[Row]], measure: str) -> int:
    largest = max(summary(rows)[measure][0] for rows in found.values())
    return 2 if largest >= 1 else 4


def shown(mean: float, error: float, places: int) -> str:
    if np.isnan(mean):
        return "-"
    return f"{mean:.{places}f}" + ("" if np.isnan(error) else f" ± {error:.{places}f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--metric", action="append", default=[], help="only these metrics")
    parser.add_argument("--minimize", action="append", default=[], help="metrics that are losses")
    parser.add_argument("--most-targets", type=int, default=40, help="per folder and metric")
    parser.add_argument("--paper-zoo", help="name of a folder whose matrix is the only history")
    parser.add_argument("--targets", help="name of the folder with the unseen targets")
    parser.add_argument("--to", type=Path, help="write Markdown here")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument(
        "--skip", action="append", default=[], choices=["probes", "calibration", "poster"]
    )
    parser.add_argument("--only", action="append", default=[], help="only these recommenders")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    names = options.only or recommenders()
    warnings.simplefilter("ignore")
    data: dict[str, object] = {}
    lines: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        lines.append(text)

    everything = [
        read(folder, metric, options.minimize)
        for folder in folders(options.folders)
        for metric in FolderHistory(folder).metrics()
        if not options.metric or metric in options.metric
    ]
    for a in everything:
        for b in everything:
            if a.name == options.paper_zoo and b.name == options.targets:
                cases = paper_zoo(a, b)
                if cases:
                    found = experiment(cases, names)
                    say(
                        f"\n### {a.name} ({a.metric}) as the only history, "
                        f"{b.name} ({b.metric}): {len(cases)} targets\n\n{table(found)}"
                    )
                    data[f"{a.name}/{a.metric}->{b.name}/{b.metric}"] = found
    for records in everything:
        measure(records, names, options, say, data)
        if options.to:
            options.to.write_text(document("\n".join(lines), everything))
        if options.json:
            options.json.write_text(json.dumps(data))


def measure(
    records: Records,
    names: Sequence[str],
    options: argparse.Namespace,
    say: Callable[[str], None],
    data: dict[str, object],
) -> None:
    """Everything that one metric of one folder tells."""
    started = time.perf_counter()
    cases = leave_one_out(records, options.most_targets)
    if not cases:
        return
    key = f"{records.name}/{records.metric}"
    found = experiment(cases, names)
    m, d = records.matrix.values.shape
    say(
        f"\n### {records.name}, {records.metric}\n\n"
        f"{m} models x {d} datasets, {len(cases)} targets; scores: "
        f"{', '.join(usable_scores(records)) or 'none'}.\n\n{table(found)}"
    )
    data[key] = found
    large = records.matrix.values.size > 10_000  # a sample of targets has to do
    if usable_scores(records) and "probes" not in options.skip:
        scored = probes(records)
        data[f"{key}/probes"] = scored
        rows: dict[str, list[Row]] = {}
        for title, by in scored.items():
            count = np.mean([row["probes"] for row in by.pop("probes")])
            rows |= {f"{name}: {title} ({count:.0f})": r for name, r in by.items()}
        say(f"\nWhat is scored, and how many models that probes:\n\n{table(rows, 'scored')}")
    if "calibration" not in options.skip:
        held = calibration(cases, 4 if large else 12)
        data[f"{key}/calibration"] = held
        heads = list(held)
        say(
            "\n| what is said of gaps, and what was | "
            + " | ".join(heads)
            + " |\n"
            + "|---" * (len(heads) + 1)
            + "|"
        )
        for name in next(iter(held.values())):
            say(f"| {name} | " + " | ".join(f"{held[h][name]:.2f}" for h in heads) + " |")
    if "poster" not in options.skip:
        settings = poster(records, 3 if large else 12)
        data[f"{key}/poster"] = settings
        rows = {f"{name}, {what}": r for what, by in settings.items() for name, r in by.items()}
        say(f"\nSettings 1 and 2 of Li et al.; their third is the first table:\n\n{table(rows)}")
    print(f"({time.perf_counter() - started:.0f} s)", flush=True)


def document(measured: str, everything: Sequence[Records]) -> str:
    sources = {r.name: r.meta for r in everything}
    told = "\n".join(f"- **{name}**: {source(meta)}" for name, meta in sources.items())
    return f"{BEFORE}\n{told}\n\n## Tables\n{measured}\n{AFTER}"


def source(meta: Mapping[str, object]) -> str:
    where = meta.get("source", [])
    places = sorted({str(s).split(":")[0] for s in where} if isinstance(where, list) else {})
    return f"{', '.join(places) or 'unknown source'}; licence: {meta.get('license', 'unknown')}"


if __name__ == "__main__":
    main()
