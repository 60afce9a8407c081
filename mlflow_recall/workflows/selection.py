"""The outcome of a selection, and the page of its run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from urllib.parse import quote

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.metrics import to_maximize, why_worthless
from mlflow_recall.safe_text import escape_markdown
from mlflow_recall.workflows.candidates import Candidate
from mlflow_recall.workflows.recall import RecallResult
from mlflow_recall.workflows.recommendation_tables import recommendation_rows


@dataclass(frozen=True)
class RegisteredModel:
    """Where the winner can be loaded from."""

    name: str
    version: str
    alias: str


@dataclass(frozen=True, eq=False)
class FinalModel:
    """The model that is registered: the winner, or the winner retrained on all samples."""

    checkpoint: str
    run: ActiveRun
    #: epochs of the training on all samples; 0 without one
    epochs: int = 0
    #: metric -> value on the test split after that training; empty without one
    test: Mapping[str, float] = field(default_factory=dict)
    #: why that training failed; None: it did not
    error: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SelectionResult:
    """The outcome of a selection."""

    recall: RecallResult
    candidates: Sequence[Candidate]
    winner: Candidate
    metric: str
    #: metric -> value on the test split, which is evaluated once
    test: Mapping[str, float]
    run_id: str
    experiment_id: str
    #: None where the registry refused it
    registered: RegisteredModel | None
    epochs: int
    seconds: float
    #: ``brute_force`` or ``halving`` -> epochs over all eligible models
    cost: Mapping[str, int]
    final: FinalModel
    #: the policy that stopped candidates
    policy: str
    #: whether that policy predicted final scores
    has_predictions: bool
    #: why the winner was not trained to the last stage; None: it was
    budget_stop: str | None = None
    #: what failed although there is a winner -> reason
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def ground_truth(self) -> GroundTruth | None:
        """What brute force reached on this dataset, where it is recorded for the winner too."""
        known = self.recall.context.ground_truth
        return known if known and not math.isnan(known.score(self.winner.name)) else None

    @property
    def caution(self) -> str | None:
        """Why the winner is worth nothing; None where it is worth something."""
        reason = why_worthless(self.recall.dataset.task, self.test)
        return f"look at the winner with doubt: {reason}" if reason else None

    @property
    def regret(self) -> float | None:
        """Recorded score of the best model minus that of the winner; None: not recorded.

        It is in the unit of the recall.
        """
        return self.ground_truth.regret(self.winner.name) if self.ground_truth else None

    @property
    def regret_text(self) -> str | None:
        """The regret with its unit, for people; None: not recorded."""
        regret = self.regret
        return None if regret is None else f"{regret:.3f}{self.recall.context.unit.suffix}"


def log_selection(result: SelectionResult, parent: ActiveRun) -> None:
    """Log metrics, tags, tables, figures and the description of the parent run."""
    metric, registered = result.metric, result.registered
    parent.log_metrics(
        {
            "selection/epochs": result.epochs,
            "selection/seconds": result.seconds,
            "selection/train_seconds": sum(c.seconds for c in result.candidates),
            "selection/brute_force_epochs": result.cost["brute_force"],
            "selection/halving_epochs": result.cost["halving"],
            "selection/final_epochs": result.final.epochs,
            **{f"test/{name}": value for name, value in result.test.items()},
            **({} if result.regret is None else {"selection/regret": result.regret}),
        }
    )
    parent.set_tags(
        {
            tags.WINNER: result.winner.name,
            **({tags.REGISTERED: f"{registered.name}/{registered.version}"} if registered else {}),
            tags.POLICY: result.policy,
            tags.HAS_PREDICTIONS: str(result.has_predictions).lower(),
            **({tags.BUDGET_STOP: result.budget_stop} if result.budget_stop else {}),
        }
    )
    rows = candidate_rows(result)
    parent.log_table(rows, "selection/candidates.json")
    curves = {
        c.name: [to_maximize(metric, score) for score in c.scores]
        for c in result.candidates
        if c.scores
    }
    predictions = {c.name: c.predictions for c in result.candidates}
    parent.log_figure(figures.race_figure(curves, predictions, metric), "selection/race.png")
    dataset = result.recall.dataset
    direction = " (lower is better)" if to_maximize(metric, 1.0) < 0 else ""
    link = figures.candidates_link("", parent.experiment_id, parent.run_id, metric)
    paragraphs = [
        f"**{escape_markdown(result.winner.name)}** wins on "
        f"{escape_markdown(dataset.name)} ({dataset.task}) with test {metric} "
        f"{result.test[metric]:.3f}{direction}, {_registered_link(registered)}.",
        *(_bold_sentence(f"{what} failed: {reason}") for what, reason in result.failed.items()),
        escape_markdown(compare_with_brute_force(result) or ""),
        _bold_sentence(result.caution),
        _bold_sentence(result.budget_stop),
        f"It cost {result.epochs} epochs in {result.seconds:.0f} s; brute force over the "
        f"{len(result.recall.recommendation.ranking.models)} eligible models costs "
        f"{result.cost['brute_force']}, halving {result.cost['halving']}.",
        f"[The candidates side by side]({link})",
        f"### Candidates\n\n{figures.markdown_table(rows)}",
        f"### Recall by {result.recall.ranked_by}\n\n"
        f"{figures.markdown_table(recommendation_rows(result.recall.recommendation))}",
    ]
    parent.set_description("\n\n".join(filter(None, paragraphs)) + "\n")


def _registered_link(registered: RegisteredModel | None) -> str:
    if registered is None:
        return "not registered"
    alias = escape_markdown(f"{registered.name}@{registered.alias}")
    return f"registered as [{alias}](#/models/{quote(registered.name)})"


def _bold_sentence(text: str | None) -> str | None:
    return f"**{escape_markdown(text[:1].upper() + text[1:])}.**" if text else None


def compare_with_brute_force(result: SelectionResult) -> str | None:
    """Compare the choice with a recorded brute force; None where there is none."""
    truth, winner = result.ground_truth, result.winner.name
    if truth is None:
        return None
    score = to_maximize(result.metric, truth.score(truth.best))
    return (
        f"Brute force is on record for this dataset: the best of {len(truth.models)} models is "
        f"{truth.best} with test {result.metric} {score:.3f}; the winner ranks "
        f"{truth.rank(winner)}, with a regret of {result.regret_text}."
    )


def candidate_rows(result: SelectionResult) -> list[dict[str, object]]:
    """Return one row a candidate, in the order of recall, for tables."""
    return [
        {
            "model": c.name,
            "status": c.status,
            "stage": c.stage,
            f"validation {result.metric}": (
                to_maximize(result.metric, c.scores[-1]) if c.scores else None
            ),
            **_seeds_row(c, result),
            "seconds": round(c.seconds),
            "reason": c.reason,
            "rival": c.rival or "",
        }
        for c in result.candidates
    ]


def _seeds_row(candidate: Candidate, result: SelectionResult) -> dict[str, object]:
    """Return mean and standard deviation over seeds, where a finalist was trained with several."""
    if not any(c.seed_scores for c in result.candidates):
        return {}
    scores = [to_maximize(result.metric, score) for score in candidate.final_scores]
    is_repeated = bool(candidate.seed_scores)
    return {
        "seeds": len(scores) or None,
        "mean": fmean(scores) if is_repeated else None,
        "std": stdev(scores) if is_repeated else None,
    }
