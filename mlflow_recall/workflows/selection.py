"""A selection as data, and how it is told: candidates, outcome, the page of its run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from mlflow_recall.adapters import figures, tags
from mlflow_recall.adapters.ledger import Ledger, OpenRun
from mlflow_recall.cache import cache_folder
from mlflow_recall.config import SelectConfig
from mlflow_recall.core.metrics import oriented
from mlflow_recall.core.policies import Past, Settings
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.core.records import Member
from mlflow_recall.core.truth import Truth
from mlflow_recall.workflows.advice import advice_rows
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.recall import Recalled


@dataclass(frozen=True, eq=False)
class Job:
    """What one selection works with."""

    config: SelectConfig
    bench: Bench
    ledger: Ledger
    #: run of the selection; candidates are its children
    parent: OpenRun
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
class Plan:
    """Who is trained, how, and who decides when to stop."""

    policy: str
    settings: Settings
    past: Past | None
    #: candidate -> its recipe, in the order of recall
    recipes: Mapping[str, Recipe]


@dataclass
class Candidate:
    """A recalled model on its way."""

    member: Member
    recipe: Recipe
    weights: str
    run: OpenRun
    trial: optuna.trial.Trial
    #: validation scores so far, higher is better
    scores: list[float] = field(default_factory=list)
    seconds: float = 0.0
    checkpoint: str = ""
    #: running | winner | finalist | stopped | failed
    status: str = "running"
    reason: str = ""
    rival: str | None = None
    foretold: list[tuple[int, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.member.name

    @property
    def stage(self) -> int:
        """Stages trained so far."""
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Final:
    """What is registered: the winner as it won, or trained once more on all samples."""

    checkpoint: str
    run: OpenRun
    #: of the training on all samples; 0 and empty where there was none
    epochs: int = 0
    test: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Selected:
    """The outcome of a selection."""

    recalled: Recalled
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
    final: Final
    #: the policy that stopped candidates, and whether it could foretell ends
    policy: str
    foretold: bool
    #: why the winner was not trained to the last stage; empty: it was
    cut: str = ""

    @property
    def truth(self) -> Truth | None:
        """What brute force reached on this dataset, where it was recorded for the winner too."""
        known = self.recalled.prospect.truth
        return known if known and not math.isnan(known.score(self.winner.name)) else None

    @property
    def regret(self) -> float | None:
        """Recorded score of the best model minus that of the winner; None: nobody knows."""
        return self.truth.regret(self.winner.name) if self.truth else None


def log_selection(selected: Selected, parent: OpenRun) -> None:
    """What the page of the parent run shows."""
    metric = selected.metric
    parent.log(
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
    parent.tag(
        {
            "recall.winner": selected.winner.name,
            "recall.registered": "{name}/{version}".format(**selected.registered),
            "recall.policy": selected.policy,
            "recall.trends": str(selected.foretold).lower(),
            **({tags.CUT: selected.cut} if selected.cut else {}),
        }
    )
    rows = candidate_rows(selected)
    parent.table(rows, "selection/candidates.json")
    curves = {
        c.name: [oriented(metric, s) for s in c.scores] for c in selected.candidates if c.scores
    }
    foretold = {c.name: c.foretold for c in selected.candidates}
    chart = figures.race(curves, foretold, metric)
    parent.picture(chart, "selection/race.png")
    link = figures.candidates_link("", parent.experiment_id, parent.run_id, metric)
    alias = "{name}@{alias}".format(**selected.registered)
    parent.describe(
        f"**{selected.winner.name}** wins with test {metric} {selected.test[metric]:.3f}, "
        f"registered as [`{alias}`](#/models/{selected.registered['name']}).\n\n"
        f"{verdict(selected)}\n\n{_paragraph(selected.cut)}"
        f"It cost {selected.epochs} epochs in {selected.seconds:.0f} s; brute force over the "
        f"{len(selected.recalled.advice.ranking.models)} eligible models costs "
        f"{selected.cost['brute_force']}, halving {selected.cost['halving']}.\n\n"
        f"[The candidates side by side]({link})\n\n"
        f"### Candidates\n\n{figures.markdown_table(rows)}\n\n"
        f"### Recall by {selected.recalled.by}\n\n"
        f"{figures.markdown_table(advice_rows(selected.recalled.advice))}\n"
    )


def _paragraph(sentence: str) -> str:
    """In bold, if there is anything to say."""
    return f"**{sentence[:1].upper()}{sentence[1:]}.**\n\n" if sentence else ""


def verdict(selected: Selected) -> str:
    """How the choice compares with a recorded brute force; empty where there is none."""
    truth, winner = selected.truth, selected.winner.name
    if truth is None:
        return ""
    score = oriented(selected.metric, truth.score(truth.best))
    return (
        f"Brute force is on record for this dataset: the best of {len(truth.models)} models is "
        f"{truth.best} with test {selected.metric} {score:.3f}; the winner is number "
        f"{truth.rank(winner)}, a regret of {truth.regret(winner):.3f}."
    )


def candidate_rows(selected: Selected) -> list[dict[str, object]]:
    """One row a candidate, in the order of recall, for tables."""
    return [
        {
            "model": c.name,
            "status": c.status,
            "stage": c.stage,
            f"validation {selected.metric}": (
                oriented(selected.metric, c.scores[-1]) if c.scores else None
            ),
            "seconds": round(c.seconds, 1),
            "reason": c.reason,
            "rival": c.rival or "",
        }
        for c in selected.candidates
    ]
