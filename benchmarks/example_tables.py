"""The tables of docs/example.md, from selections that `example.py` replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import is_within

#: what the paper charges for a look at one representative, in epochs
PAPER_LOOK = 0.5
TOLERANCE = 0.01

BRUTE_FORCE = "brute force, whole zoo"
HALVING = "halving, whole zoo"
OPEN_BRUTE_FORCE = "brute force, all with weights"
OPEN_HALVING = "halving, all with weights"
TEN = "eq. 2-4, ten, fine-selection"
TEN_HALVING = "eq. 2-4, ten, halving"
TEN_BRUTE_FORCE = "eq. 2-4, ten, brute force"
FIVE = "recall, five, fine-selection"
FIVE_HALVING = "recall, five, halving"
FIVE_BRUTE_FORCE = "recall, five, brute force"
PRICE = "recall, price of an epoch"
#: what the tables by target show; the others are parts of the paper's tables
SHOWN = (
    BRUTE_FORCE,
    HALVING,
    OPEN_BRUTE_FORCE,
    OPEN_HALVING,
    TEN,
    FIVE,
    FIVE_HALVING,
    FIVE_BRUTE_FORCE,
    PRICE,
)


@dataclass(frozen=True)
class Target:
    """What is known of a target, whoever is selected."""

    name: str
    #: highest and mean worth of its models: their mean test score over the recorded seeds
    best: float
    mean: float
    #: one standard deviation of a fine-tuning of its modality, 0 where nobody knows
    noise: float


@dataclass(frozen=True)
class Row:
    """One selection: one way, one target, one seed."""

    target: str
    way: str
    seed: int
    candidates: int
    #: epochs of training, and of looking at the representatives as measured
    trained: float
    looked: float
    representatives: int
    #: of training and looking, as recorded, on one worker
    seconds: float
    winner: str
    #: mean test score of the winner over its recorded seeds, and what it lacks to the best model
    worth: float
    regret: float

    @property
    def epochs(self) -> float:
        return self.trained + self.looked

    @property
    def charged(self) -> float:
        """Epochs with the paper's charge for a look."""
        return self.trained + PAPER_LOOK * self.representatives


@dataclass(frozen=True)
class Selections:
    """All rows, and their means: over the seeds of a target first, then over the targets."""

    targets: Sequence[Target]
    rows: Sequence[Row]

    def of(self, target: str, way: str) -> list[Row]:
        return [row for row in self.rows if row.target == target and row.way == way]

    def seeds(self, target: str, *ways: str) -> set[int]:
        """Seeds that all of the ways were replayed with."""
        return set.intersection(*({row.seed for row in self.of(target, way)} for way in ways))

    def by_target(
        self, way: str, value: Callable[[Row], float], beside: str = ""
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(targets,) means over the seeds, or over those that another way has, too."""
        return np.array(
            [
                np.mean(
                    [
                        value(row)
                        for row in self.of(target.name, way)
                        if row.seed in self.seeds(target.name, way, beside or way)
                    ]
                )
                for target in self.targets
            ]
        )


def tables(targets: Sequence[Target], rows: Sequence[Row]) -> dict[str, str]:
    """Every table of the page, by the name of its place."""
    found = Selections(targets, rows)
    return {
        "summary": summary(found),
        "whole zoo": against(found, FIVE, HALVING),
        "with weights": against(found, FIVE, OPEN_HALVING),
        "second phase": second_phase(found),
        "end to end": end_to_end(found),
        "accuracy": accuracy(found),
        "targets": by_target(found),
    }


def summary(found: Selections) -> str:
    """Means over the targets, beside brute force and halving over the whole zoo."""
    lines = []
    for way in SHOWN:
        epochs, regrets = (found.by_target(way, value) for value in (_epochs, _regret))
        near = found.by_target(way, lambda row: float(is_within(np.array(row.regret), TOLERANCE)))
        lines.append(
            [
                way,
                str(sum(len(found.of(target.name, way)) for target in found.targets)),
                f"{found.by_target(way, lambda row: row.candidates).mean():.1f}",
                f"{epochs.mean():.1f}",
                f"{(found.by_target(BRUTE_FORCE, _epochs) / epochs).mean():.1f}",
                f"{(found.by_target(HALVING, _epochs) / epochs).mean():.1f}",
                plus_minus(regrets),
                f"{near.mean():.0%}",
            ]
        )
    head = "way|selections|candidates|epochs|x brute force|x halving|regret|within 0.01"
    return table(head, lines)


def against(found: Selections, way: str, other: str) -> str:
    """One way beside another, target by target, on the seeds that both have."""
    ours, theirs = (
        {value: found.by_target(one, value, beside) for value in (_epochs, _regret)}
        for one, beside in ((way, other), (other, way))
    )
    difference = ours[_regret] - theirs[_regret]
    lines = [
        [
            target.name,
            str(len(found.seeds(target.name, way, other))),
            f"{theirs[_epochs][i]:.1f}",
            f"{ours[_epochs][i]:.1f}",
            f"{ours[_epochs][i] / theirs[_epochs][i]:.2f}",
            f"{theirs[_regret][i]:.3f}",
            f"{ours[_regret][i]:.3f}",
            f"{difference[i]:+.3f}",
            f"{target.noise:.3f}",
        ]
        for i, target in enumerate(found.targets)
    ]
    lines.append(
        [
            "mean",
            "",
            f"{theirs[_epochs].mean():.1f}",
            f"{ours[_epochs].mean():.1f}",
            f"{ours[_epochs].mean() / theirs[_epochs].mean():.2f}",
            plus_minus(theirs[_regret]),
            plus_minus(ours[_regret]),
            plus_minus(difference, sign="+"),
            f"{np.mean([target.noise for target in found.targets]):.3f}",
        ]
    )
    head = "target|seeds|epochs: halving|recall|share|regret: halving|recall|difference|noise"
    return table(head, lines)


def second_phase(found: Selections) -> str:
    """Epochs of training the same recalled candidates in three ways, as in Table V."""
    sets = (
        ("ten", (TEN_BRUTE_FORCE, TEN_HALVING, TEN)),
        ("five", (FIVE_BRUTE_FORCE, FIVE_HALVING, FIVE)),
    )
    lines = []
    for name, ways in sets:
        counts = found.by_target(ways[0], lambda row: row.candidates)
        costs = np.stack([found.by_target(way, lambda row: row.trained) for way in ways])
        for i, target in enumerate(found.targets):
            lines.append([target.name, name, f"{counts[i]:.0f}", *_speed(costs[:, i])])
        lines.append(["mean", name, f"{counts.mean():.1f}", *_speed(costs)])
    head = "target|recalled|candidates|brute force|halving|fine-selection|x brute force|x halving"
    return table(head, lines)


def end_to_end(found: Selections) -> str:
    """Epochs from a zoo to a model, half an epoch a representative included, as in Table VI."""
    baselines = [found.by_target(way, lambda row: row.charged) for way in (BRUTE_FORCE, HALVING)]
    ten, five = (
        np.stack([*baselines, found.by_target(way, lambda row: row.charged)]) for way in (TEN, FIVE)
    )
    looks = found.by_target(FIVE, lambda row: row.representatives)
    lines = [
        [target.name, f"{looks[i]:.0f}", *_speed(ten[:, i]), *_speed(five[:, i])[2:]]
        for i, target in enumerate(found.targets)
    ]
    lines.append(["mean", f"{looks.mean():.1f}", *_speed(ten), *_speed(five)[2:]])
    head = (
        "target|representatives|brute force|halving|two phases, ten|x brute force|x halving"
        "|two phases, five|x brute force|x halving"
    )
    return table(head, lines)


def accuracy(found: Selections) -> str:
    """What the selected model is worth, as in Table VII."""
    ways = (BRUTE_FORCE, HALVING, TEN, FIVE)
    worth = [np.array([target.best for target in found.targets])]
    worth += [np.array([target.mean for target in found.targets])]
    worth += [found.by_target(way, lambda row: row.worth) for way in ways]
    lines = [
        [target.name, *(f"{column[i]:.3f}" for column in worth)]
        for i, target in enumerate(found.targets)
    ]
    lines.append(["mean", *(f"{column.mean():.3f}" for column in worth)])
    return table("|".join(("target", "best model", "mean of the zoo", *ways)), lines)


def by_target(found: Selections) -> str:
    lines = []
    for target in found.targets:
        for way in SHOWN:
            rows = found.of(target.name, way)
            winners = Counter(row.winner for row in rows).most_common()
            lines.append(
                [
                    target.name,
                    way,
                    str(len(rows)),
                    f"{np.mean([row.candidates for row in rows]):.0f}",
                    f"{np.mean([row.epochs for row in rows]):.1f}",
                    f"{np.mean([row.seconds for row in rows]):.0f}",
                    ", ".join(f"{n} x {name}" if n > 1 else name for name, n in winners),
                    f"{np.mean([row.worth for row in rows]):.3f}",
                    f"{np.mean([row.regret for row in rows]):.3f}",
                ]
            )
    return table("target|way|seeds|candidates|epochs|seconds|winner|test|regret", lines)


def _epochs(row: Row) -> float:
    return row.epochs


def _regret(row: Row) -> float:
    return row.regret


def _speed(costs: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[str]:
    """Three costs, and how often the third goes into the first two: (3,) or (3, targets)."""
    brute, halving, ours = costs
    ratios = (np.mean(brute / ours), np.mean(halving / ours))
    return [f"{np.mean(cost):.1f}" for cost in costs] + [f"{ratio:.1f}" for ratio in ratios]


def plus_minus(values: np.ndarray[tuple[int], np.dtype[np.float64]], sign: str = "") -> str:
    """Mean and its standard error over targets."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():{sign}.4f} ± {error:.4f}"


def table(head: str, lines: Sequence[Sequence[str]]) -> str:
    columns = head.split("|")
    rows = (columns, ["---"] * len(columns), *lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table between its marks."""
    for name, text in tables.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if mark and end:
            page = f"{before}{mark}{text}\n{end}{after}"
    return page
