"""A selection as data, and how it is told: candidates, outcome, the page of its run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter
from mlflow_recall.cache import cache_folder
from mlflow_recall.config import SelectConfig
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.metrics import to_maximize
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Member
from mlflow_recall.core.policies import PolicyHistory, PolicyOptions
from mlflow_recall.workflows.recall import RecallResult
from mlflow_recall.workflows.recommendation_tables import recommendation_rows
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True, eq=False)
class SelectionJob:
    """What one selection works with."""

    config: SelectConfig
    services: Services
    writer: RunWriter
    #: run of the selection; candidates are its children
    parent: ActiveRun
    #: on the clock of ``time.perf_counter``
    started: float = field(default_factory=time.perf_counter)

    @property
    def folder(self) -> Path:
        """Where checkpoints are kept until it ends."""
        return cache_folder("checkpoints", self.parent.run_id)

    @property
    def seconds(self) -> float:
        """Since it began, recall included."""
        return time.perf_counter() - self.started

    @property
    def metric(self) -> str:
        """What is selected by."""
        return self.config.recall.metric


@dataclass(frozen=True, eq=False)
class RacePlan:
    """Who is trained, how, and who decides when to stop."""

    policy: str
    options: PolicyOptions
    history: PolicyHistory | None
    #: candidate -> its recipe, in the order of recall
    recipes: Mapping[str, Recipe]


@dataclass
class Candidate:
    """A recalled model on its way."""

    member: Member
    recipe: Recipe
    weights: str
    run: ActiveRun
    trial: optuna.trial.Trial
    #: validation scores so far, higher is better
    scores: list[float] = field(default_factory=list)
    seconds: float = 0.0
    checkpoint: str = ""
    #: running | winner | finalist | stopped | failed
    status: str = "running"
    reason: str = ""
    rival: str | None = None
    predicted: list[tuple[int, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.member.name

    @property
    def stage(self) -> int:
        """Stages trained so far."""
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class FinalModel:
    """What is registered: the winner as it won, or trained once more on all samples."""

    checkpoint: str
    run: ActiveRun
    #: of the training on all samples; 0 and empty where there was none
    epochs: int = 0
    test: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SelectionResult:
    """The outcome of a selection."""

    recall: RecallResult
    candidates: Sequence[Candidate]
    winner: Candidate
    metric: str
    #: metric -> value on the test split, touched once
    test: Mapping[str, float]
    run_id: str
    experiment_id: str
    registered: Mapping[str, str]
    epochs: int
    seconds: float
    #: strategy -> epochs that it would have cost
    cost: Mapping[str, int]
    final: FinalModel
    #: the policy that stopped candidates, and whether it could foretell ends
    policy: str
    has_predictions: bool
    #: why the winner was not trained to the last stage; empty: it was
    budget_stop: str = ""

    @property
    def ground_truth(self) -> GroundTruth | None:
        """What brute force reached on this dataset, where it was recorded for the winner too."""
        known = self.recall.context.ground_truth
        return known if known and not math.isnan(known.score(self.winner.name)) else None

    @property
    def regret(self) -> float | None:
        """Recorded score of the best model minus that of the winner; None: nobody knows."""
        return self.ground_truth.regret(self.winner.name) if self.ground_truth else None


def log_selection(selected: SelectionResult, parent: ActiveRun) -> None:
    """What the page of the parent run shows."""
    metric = selected.metric
    parent.log_metrics(
        {
            "selection/epochs": selected.epochs,
            "selection/seconds": selected.seconds,
            "selection/train_seconds": sum(c.seconds for c in selected.candidates),
            "selection/brute_force_epochs": selected.cost["brute_force"],
            "selection/halving_epochs": selected.cost["halving"],
            "selection/final_epochs": selected.final.epochs,
            **{f"test/{name}": value for name, value in selected.test.items()},
            **({} if selected.regret is None else {"selection/regret": selected.regret}),
        }
    )
    parent.set_tags(
        {
            "recall.winner": selected.winner.name,
            "recall.registered": "{name}/{version}".format(**selected.registered),
            "recall.policy": selected.policy,
            "recall.trends": str(selected.has_predictions).lower(),
            **({tags.BUDGET_STOP: selected.budget_stop} if selected.budget_stop else {}),
        }
    )
    rows = candidate_rows(selected)
    parent.log_table(rows, "selection/candidates.json")
    curves = {
        c.name: [to_maximize(metric, s) for s in c.scores] for c in selected.candidates if c.scores
    }
    foretold = {c.name: c.predicted for c in selected.candidates}
    chart = figures.race_figure(curves, foretold, metric)
    parent.log_figure(chart, "selection/race.png")
    link = figures.candidates_link("", parent.experiment_id, parent.run_id, metric)
    alias = "{name}@{alias}".format(**selected.registered)
    parent.set_description(
        f"**{selected.winner.name}** wins with test {metric} {selected.test[metric]:.3f}, "
        f"registered as [`{alias}`](#/models/{selected.registered['name']}).\n\n"
        f"{brute_force_comparison(selected)}\n\n{_paragraph(selected.budget_stop)}"
        f"It cost {selected.epochs} epochs in {selected.seconds:.0f} s; brute force over the "
        f"{len(selected.recall.recommendation.ranking.models)} eligible models costs "
        f"{selected.cost['brute_force']}, halving {selected.cost['halving']}.\n\n"
        f"[The candidates side by side]({link})\n\n"
        f"### Candidates\n\n{figures.markdown_table(rows)}\n\n"
        f"### Recall by {selected.recall.ranked_by}\n\n"
        f"{figures.markdown_table(recommendation_rows(selected.recall.recommendation))}\n"
    )


def _paragraph(sentence: str) -> str:
    """In bold, if there is anything to say."""
    return f"**{sentence[:1].upper()}{sentence[1:]}.**\n\n" if sentence else ""


def brute_force_comparison(selected: SelectionResult) -> str:
    """How the choice compares with a recorded brute force; empty where there is none."""
    truth, winner = selected.ground_truth, selected.winner.name
    if truth is None:
        return ""
    score = to_maximize(selected.metric, truth.score(truth.best))
    return (
        f"Brute force is on record for this dataset: the best of {len(truth.models)} models is "
        f"{truth.best} with test {selected.metric} {score:.3f}; the winner is number "
        f"{truth.rank(winner)}, a regret of {truth.regret(winner):.3f}."
    )


def candidate_rows(selected: SelectionResult) -> list[dict[str, object]]:
    """One row a candidate, in the order of recall, for tables."""
    return [
        {
            "model": c.name,
            "status": c.status,
            "stage": c.stage,
            f"validation {selected.metric}": (
                to_maximize(selected.metric, c.scores[-1]) if c.scores else None
            ),
            "seconds": round(c.seconds, 1),
            "reason": c.reason,
            "rival": c.rival or "",
        }
        for c in selected.candidates
    ]
