"""The tables of docs/example.md, from the selections that `example.py` replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from example_selections import (
    BRUTE_FORCE,
    FIVE,
    FIVE_BRUTE_FORCE,
    FIVE_HALVING,
    HALVING,
    OPEN_HALVING,
    SHOWN,
    TEN,
    TEN_BRUTE_FORCE,
    TEN_HALVING,
    Row,
    Selections,
    Target,
)

from mlflow_recall.adapters.figures import markdown_table
from mlflow_recall.core.arrays import FloatArray, is_within

TOLERANCE = 0.01


@dataclass(frozen=True)
class Column:
    """One value a target, and what the last line says of all."""

    head: str
    values: FloatArray  #: (targets,)
    form: str = ".1f"
    #: the mean where nothing else is given
    last: str | None = None

    @property
    def cells(self) -> list[str]:
        last = f"{self.values.mean():{self.form}}" if self.last is None else self.last
        return [*(f"{value:{self.form}}" for value in self.values), last]


def tables(targets: Sequence[Target], rows: Sequence[Row]) -> dict[str, str]:
    """Every table of the page, by the name of its place."""
    found = Selections(targets, rows)
    return {
        "summary": summary(found),
        "whole zoo": against(found, FIVE, HALVING),
        "with weights": against(found, FIVE, OPEN_HALVING),
        "second phase of ten": second_phase(found, TEN_BRUTE_FORCE, TEN_HALVING, TEN),
        "second phase of five": second_phase(found, FIVE_BRUTE_FORCE, FIVE_HALVING, FIVE),
        "end to end": end_to_end(found),
        "accuracy": accuracy(found),
        "targets": every_target(found),
    }


def summary(found: Selections) -> str:
    """Means over the targets, beside brute force and halving over the whole zoo."""
    lines = []
    for way in SHOWN:
        epochs, regrets = found.means(way, _epochs), found.means(way, _regret)
        near = found.means(way, lambda row: float(is_within(np.array(row.regret), TOLERANCE)))
        lines.append(
            {
                "way": way,
                "selections": sum(len(found.of(target.name, way)) for target in found.targets),
                "candidates": f"{found.means(way, lambda row: row.candidates).mean():.1f}",
                "epochs": f"{epochs.mean():.1f}",
                "x brute force": f"{(found.means(BRUTE_FORCE, _epochs) / epochs).mean():.1f}",
                "x halving": f"{(found.means(HALVING, _epochs) / epochs).mean():.1f}",
                "regret": plus_minus(regrets),
                f"within {TOLERANCE}": f"{near.mean():.0%}",
            }
        )
    return markdown_table(lines)


def against(found: Selections, way: str, other: str) -> str:
    """One way beside another, target by target, on the seeds that both have."""
    cost, others_cost = found.means(way, _epochs, other), found.means(other, _epochs, way)
    regret, others_regret = found.means(way, _regret, other), found.means(other, _regret, way)
    seeds = np.array([len(found.seeds(target.name, way, other)) for target in found.targets])
    share = f"{cost.mean() / others_cost.mean():.2f}"
    difference = regret - others_regret
    return by_target(
        found,
        Column("seeds", seeds, "d", ""),
        Column("halving: epochs", others_cost),
        Column("recall: epochs", cost),
        Column("share", cost / others_cost, ".2f", share),
        Column("halving: regret", others_regret, ".3f", plus_minus(others_regret)),
        Column("recall: regret", regret, ".3f", plus_minus(regret)),
        Column("difference", difference, "+.3f", plus_minus(difference, "+")),
        Column("noise", np.array([target.noise for target in found.targets]), ".3f"),
    )


def second_phase(found: Selections, *ways: str) -> str:
    """Epochs of training the same recalled candidates in three ways, as in Table V."""
    brute, halving, ours = (found.means(way, lambda row: row.trained) for way in ways)
    return by_target(
        found,
        Column("candidates", found.means(ways[0], lambda row: row.candidates)),
        Column("brute force", brute),
        Column("halving", halving),
        Column("fine-selection", ours),
        *faster(brute, halving, ours),
    )


def end_to_end(found: Selections) -> str:
    """Epochs from a zoo to a model, half an epoch a probe included, as in Table VI."""
    brute, halving, ten, five = (
        found.means(way, lambda row: row.charged) for way in (BRUTE_FORCE, HALVING, TEN, FIVE)
    )
    return by_target(
        found,
        Column("probes", found.means(FIVE, lambda row: row.probes)),
        Column("brute force", brute),
        Column("halving", halving),
        Column("two phases, ten", ten),
        *faster(brute, halving, ten),
        Column("two phases, five", five),
        *faster(brute, halving, five),
    )


def accuracy(found: Selections) -> str:
    """What the selected model is worth, as in Table VII."""
    return by_target(
        found,
        Column("best model", np.array([target.best for target in found.targets]), ".3f"),
        Column("mean of the zoo", np.array([target.mean for target in found.targets]), ".3f"),
        *(
            Column(way, found.means(way, lambda row: row.worth), ".3f")
            for way in (BRUTE_FORCE, HALVING, TEN, FIVE)
        ),
    )


def every_target(found: Selections) -> str:
    """Every way on every target: means over the seeds, and who won how often."""
    return markdown_table(
        [
            {
                "target": target.name,
                "way": way,
                "seeds": len(rows),
                "candidates": rows[0].candidates,
                "epochs": f"{np.mean([row.epochs for row in rows]):.1f}",
                "seconds": f"{np.mean([row.seconds for row in rows]):.0f}",
                "winner": winners(rows),
                "test": f"{np.mean([row.worth for row in rows]):.3f}",
                "regret": f"{np.mean([row.regret for row in rows]):.3f}",
            }
            for target in found.targets
            for way in SHOWN
            if (rows := found.of(target.name, way))
        ]
    )


def winners(rows: Sequence[Row]) -> str:
    """Who won, and how often where that was more than once."""
    counts = Counter(row.winner for row in rows).most_common()
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts)


def by_target(found: Selections, *columns: Column) -> str:
    """One line a target, and one for all."""
    names = [*(target.name for target in found.targets), "all"]
    body = zip(names, *(column.cells for column in columns), strict=True)
    return table(("target", *(column.head for column in columns)), body)


def faster(brute: FloatArray, halving: FloatArray, ours: FloatArray) -> tuple[Column, Column]:
    """How often a cost goes into that of brute force and of halving."""
    return Column("x brute force", brute / ours), Column("x halving", halving / ours)


def plus_minus(values: FloatArray, sign: str = "") -> str:
    """Mean and its standard error over targets."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():{sign}.4f} ± {error:.4f}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """In Markdown; unlike with `markdown_table`, columns may have the same name."""
    rows = (head, ["---"] * len(head), *lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table between its marks."""
    for name, text in tables.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if mark and end:
            page = f"{before}{mark}{text}\n{end}{after}"
    return page


def _epochs(row: Row) -> float:
    return row.epochs


def _regret(row: Row) -> float:
    return row.regret
