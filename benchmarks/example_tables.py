"""The tables of docs/results/example.md, from the selections that `example.py` replayed."""

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
    """One value for each target, and the cell of the last line, which is about all of them."""

    head: str
    values: FloatArray  # (targets,)
    form: str = ".1f"
    #: None: the mean
    last: str | None = None

    @property
    def cells(self) -> list[str]:
        """All cells as text."""
        last = f"{self.values.mean():{self.form}}" if self.last is None else self.last
        return [*(f"{value:{self.form}}" for value in self.values), last]


def make_tables(targets: Sequence[Target], rows: Sequence[Row]) -> dict[str, str]:
    """Return place in the page -> its table."""
    selections = Selections(targets, rows)
    return {
        "summary": summary_table(selections),
        "whole zoo": comparison_table(selections, FIVE, HALVING),
        "with weights": comparison_table(selections, FIVE, OPEN_HALVING),
        "second phase of ten": second_phase_table(selections, TEN_BRUTE_FORCE, TEN_HALVING, TEN),
        "second phase of five": second_phase_table(
            selections, FIVE_BRUTE_FORCE, FIVE_HALVING, FIVE
        ),
        "end to end": end_to_end_table(selections),
        "final scores": final_scores_table(selections),
        "targets": target_table(selections),
    }


def summary_table(selections: Selections) -> str:
    """Return the means over the targets, beside brute force and halving over the whole zoo."""
    rows = []
    for name in SHOWN:
        epochs, regrets = selections.means(name, _epochs), selections.means(name, _regret)
        near = selections.means(name, lambda row: float(is_within(np.array(row.regret), TOLERANCE)))
        speedups = [selections.means(other, _epochs) / epochs for other in (BRUTE_FORCE, HALVING)]
        rows.append(
            {
                "strategy": name,
                "selections": sum(
                    len(selections.rows_of(t.name, name)) for t in selections.targets
                ),
                "candidates": f"{selections.means(name, lambda row: row.candidates).mean():.1f}",
                "epochs": f"{epochs.mean():.1f}",
                "x brute force": f"{speedups[0].mean():.1f}",
                "x halving": f"{speedups[1].mean():.1f}",
                "regret": mean_and_error(regrets),
                f"within {TOLERANCE}": f"{near.mean():.0%}",
            }
        )
    return markdown_table(rows)


def comparison_table(selections: Selections, strategy: str, other: str) -> str:
    """Compare a strategy with another, target by target, on the seeds that both have."""
    cost, other_cost = (
        selections.means(strategy, _epochs, other),
        selections.means(other, _epochs, strategy),
    )
    regret, other_regret = (
        selections.means(strategy, _regret, other),
        selections.means(other, _regret, strategy),
    )
    seeds = [len(selections.common_seeds(t.name, strategy, other)) for t in selections.targets]
    share = f"{cost.mean() / other_cost.mean():.2f}"
    difference = regret - other_regret
    return table_by_target(
        selections,
        Column("seeds", np.array(seeds), "d", ""),
        Column("halving: epochs", other_cost),
        Column("recall: epochs", cost),
        Column("share", cost / other_cost, ".2f", share),
        Column("halving: regret", other_regret, ".3f", mean_and_error(other_regret)),
        Column("recall: regret", regret, ".3f", mean_and_error(regret)),
        Column("difference", difference, "+.3f", mean_and_error(difference, "+")),
        Column("noise", np.array([target.noise for target in selections.targets]), ".3f"),
    )


def second_phase_table(selections: Selections, *strategies: str) -> str:
    """Return the epochs of training the same candidates by three policies, as in Table V."""
    brute_force, halving, fine_selection = (
        selections.means(name, lambda row: row.training_epochs) for name in strategies
    )
    return table_by_target(
        selections,
        Column("candidates", selections.means(strategies[0], lambda row: row.candidates)),
        Column("brute force", brute_force),
        Column("halving", halving),
        Column("fine-selection", fine_selection),
        *speedup_columns(brute_force, halving, fine_selection),
    )


def end_to_end_table(selections: Selections) -> str:
    """Return the epochs from a zoo to a model, half an epoch for a probe, as in Table VI."""
    brute_force, halving, ten, five = (
        selections.means(name, lambda row: row.paper_epochs)
        for name in (BRUTE_FORCE, HALVING, TEN, FIVE)
    )
    return table_by_target(
        selections,
        Column("probes", selections.means(FIVE, lambda row: row.probes)),
        Column("brute force", brute_force),
        Column("halving", halving),
        Column("two phases, ten", ten),
        *speedup_columns(brute_force, halving, ten),
        Column("two phases, five", five),
        *speedup_columns(brute_force, halving, five),
    )


def final_scores_table(selections: Selections) -> str:
    """Return the final score of the selected model, as in Table VII."""
    return table_by_target(
        selections,
        Column("best model", np.array([target.best for target in selections.targets]), ".3f"),
        Column("mean of the zoo", np.array([target.mean for target in selections.targets]), ".3f"),
        *(
            Column(name, selections.means(name, lambda row: row.final_score), ".3f")
            for name in (BRUTE_FORCE, HALVING, TEN, FIVE)
        ),
    )


def target_table(selections: Selections) -> str:
    """Return every strategy on every target: means over the seeds, and how often each model won."""
    return markdown_table(
        [
            {
                "target": target.name,
                "strategy": name,
                "seeds": len(rows),
                "candidates": rows[0].candidates,
                "epochs": f"{np.mean([row.epochs for row in rows]):.1f}",
                "seconds": f"{np.mean([row.seconds for row in rows]):.0f}",
                "winner": count_winners(rows),
                "test": f"{np.mean([row.final_score for row in rows]):.3f}",
                "regret": f"{np.mean([row.regret for row in rows]):.3f}",
            }
            for target in selections.targets
            for name in SHOWN
            if (rows := selections.rows_of(target.name, name))
        ]
    )


def count_winners(rows: Sequence[Row]) -> str:
    """Name the winners, with a count where one won more than once."""
    counts = Counter(row.winner for row in rows).most_common()
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts)


def table_by_target(selections: Selections, *columns: Column) -> str:
    """Return one line for each target, and one for all."""
    names = [*(target.name for target in selections.targets), "all"]
    body = zip(names, *(column.cells for column in columns), strict=True)
    return format_table(("target", *(column.head for column in columns)), body)


def speedup_columns(
    brute_force: FloatArray, halving: FloatArray, epochs: FloatArray
) -> tuple[Column, Column]:
    """Return how many times its epochs brute force and halving cost."""
    return Column("x brute force", brute_force / epochs), Column("x halving", halving / epochs)


def mean_and_error(values: FloatArray, sign: str = "") -> str:
    """Return the mean and its standard error over targets."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():{sign}.4f} ± {error:.4f}"


def format_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown; unlike with `markdown_table`, columns may share a name."""
    rows = (head, ["---"] * len(head), *lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def fill_page(page: str, tables: Mapping[str, str]) -> str:
    """Return the page with each table between its marks."""
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
