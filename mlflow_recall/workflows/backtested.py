"""What a back-test found, and its tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mlflow_recall.core.backtest.calibration import Calibration
from mlflow_recall.core.backtest.frontier import paired
from mlflow_recall.core.backtest.policy_frontiers import PolicyResults
from mlflow_recall.core.backtest.recommender_comparison import RecommenderComparison
from mlflow_recall.core.backtest.strategies import ReplayResult
from mlflow_recall.core.backtest.verdict import Conclusion
from mlflow_recall.core.backtest.whole_selections import WHOLE_ZOO
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend.probe_cost import PAPER_EPOCHS_PER_PROBE

#: a table: one mapping a row
TableRows: TypeAlias = list[dict[str, object]]


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """The back-test of one modality and metric."""

    modality: str
    metric: str
    matrix: PerformanceMatrix
    comparison: RecommenderComparison
    #: of the built-in ranker
    calibration: Calibration
    #: None where no curves are recorded
    policies: PolicyResults | None
    #: way to select -> recall and selection together; see ``core.backtest.end_to_end``
    whole_selections: Mapping[str, ReplayResult]
    conclusion: Conclusion
    tolerance: float
    #: epochs that a look by one model was worth in recorded recalls; None: there were none
    probe_epochs: float | None = None
    #: empty where no server keeps it
    run_id: str = ""


def backtest_tables(found: BacktestResult) -> dict[str, TableRows]:
    """Every table by its title; empty where nothing is known."""
    return {
        "Recommenders": recommender_rows(found),
        "Policies": policy_rows(found),
        "End to end": end_to_end_rows(found),
        "Frontiers": frontier_rows(found),
        "Gaps to the best model": calibration_rows(found),
    }


def recommender_rows(found: BacktestResult) -> TableRows:
    """One row a recommender, for tables."""
    rows: TableRows = []
    for name, judged in found.comparison.results.items():
        of = {measure: each.mean for measure, each in judged.summary.items()}
        rows.append(
            {
                "recommender": name,
                **{f"regret@{k}": _shown(of[f"regret@{k}"]) for k in (1, 3, 5, 10)},
                **{name: _shown(of[name], 2) for name in ("spearman", "pearson", "kendall")},
                "targets": len(judged.datasets),
            }
        )
    return rows


def policy_rows(found: BacktestResult) -> TableRows:
    """One row a way to select, for tables; none without curves."""
    if found.policies is None:
        return []
    table = found.policies.table
    brute, halving = (table[f"{name} of all"] for name in WHOLE_ZOO)
    return [
        {
            "policy": name,
            "candidates": _shown(float(each.candidates.mean()), 1),
            "epochs": _shown(float(each.epochs.mean()), 1),
            "x brute force": _shown(each.speedup(brute), 1),
            "x halving": _shown(each.speedup(halving), 1),
            "regret": _shown(float(each.regrets.mean())),
            f"within {found.tolerance:g}": _shown(each.share_within(found.tolerance), 2),
        }
        for name, each in table.items()
    ]


def end_to_end_rows(found: BacktestResult) -> TableRows:
    """One row a way to select, recall included, for tables; probes are epochs."""
    brute, halving = (found.whole_selections.get(name) for name in WHOLE_ZOO)
    if brute is None or halving is None:
        return []
    measured = math.nan if found.probe_epochs is None else found.probe_epochs
    return [
        {
            "way": name,
            "candidates": _shown(float(each.candidates.mean()), 1),
            "epochs" if each.from_curves else "epochs at most": _shown(
                float(each.epochs.mean()), 1
            ),
            "probes, the paper's": _shown(PAPER_EPOCHS_PER_PROBE * float(each.probes.mean()), 1),
            "measured": _shown(measured * float(each.probes.mean()), 1),
            "x brute force": _shown(each.speedup(brute), 1),
            "x halving": _shown(each.speedup(halving), 1),
            "regret": _shown(float(each.regrets.mean())),
            f"within {found.tolerance:g}": _shown(each.share_within(found.tolerance), 2),
            "targets": len(each.datasets),
        }
        for name, each in found.whole_selections.items()
    ]


def frontier_rows(found: BacktestResult) -> TableRows:
    """One row a policy's frontier, for tables; none without curves."""
    if found.policies is None:
        return []
    halving = found.policies.frontiers["halving"]
    rows: TableRows = []
    for name, each in found.policies.frontiers.items():
        difference, error = paired(each.nested, halving.nested)
        rows.append(
            {
                "policy": name,
                "area": _shown(each.area),
                "nested": _shown(each.area_nested),
                "less halving's, nested": _shown(difference),
                "±": _shown(error),
            }
        )
    return rows


def calibration_rows(found: BacktestResult) -> TableRows:
    """What was said of gaps and what they were, for tables."""
    of = found.calibration.summary
    return [
        {
            "recommender": found.calibration.name,
            "promised": found.calibration.promised,
            "covered": _shown(of["covered"].mean, 2),
            "±": _shown(of["covered"].standard_error, 2),
            "mean width": _shown(of["width"].mean),
            "said P(near)": _shown(of["said"].mean, 2),
            "was": _shown(of["was"].mean, 2),
            "set of": _shown(of["size"].mean, 1),
            "held one": _shown(of["held_smallest"].mean, 2),
        }
    ]


def _shown(value: float, places: int = 4) -> str:
    """So many decimals: differences of a thousandth count here."""
    return "-" if np.isnan(value) else f"{value:.{places}f}"
