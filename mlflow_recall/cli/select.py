"""The command ``select``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.groups import (
    COUNT,
    EngineOptions,
    RecallOptions,
    RecipeOptions,
    StoreOptions,
    TargetOptions,
)
from mlflow_recall.cli.options import CONTEXT, Number, check_assignments, option, takes
from mlflow_recall.cli.output import OutputOptions, echo, exit_if_failed, recall_json
from mlflow_recall.cli.session import Session, open_session

if TYPE_CHECKING:
    from mlflow_recall.config import SelectConfig
    from mlflow_recall.workflows.selection import SelectionResult


def _describe_policies() -> str:
    from mlflow_recall.core.defaults import Defaults
    from mlflow_recall.core.policies import POLICIES

    return (
        f"auto (as `backtest` prefers, at first {Defaults().policy}), or one of "
        f"{POLICIES.describe(lambda row: row.summary)}."
    )


def _describe_policy_options() -> str:
    from mlflow_recall.core.policies import POLICIES

    options = POLICIES.describe(lambda row: ", ".join(row.option_names) or "none")
    return f"Options of the policy, comma separated or repeated ({options})."


@dataclass(frozen=True, kw_only=True)
class SelectOptions:
    """How the recalled models compete, and what becomes of the winner."""

    policy: str = option("--policy", default="auto", describe=_describe_policies, help="")
    threshold: float | None = option(
        "--threshold",
        type=Number(),
        unset="0.0",
        help="Minimum relative lead of a rival's predicted final score, for fine_selection.",
    )
    min_gain_per_epoch: float | None = option(
        "--min-gain-per-epoch",
        type=Number(),
        unset="as `backtest` prefers, at first 0.001",
        help="Gain in the metric that one more epoch must be expected to bring, for cost_aware.",
    )
    policy_option: Mapping[str, str] = option(
        "--policy-option",
        multiple=True,
        callback=check_assignments,
        metavar="NAME=VALUE",
        unset="the policy's own defaults",
        describe=_describe_policy_options,
        help="",
    )
    budget_epochs: float | None = option(
        "--budget-epochs", type=Number(), unset="no limit", help="Epochs on the target, at most."
    )
    budget_hours: float | None = option(
        "--budget-hours", type=Number(), unset="no limit", help="Hours, at most, approximately."
    )
    register_as: str | None = option(
        "--register-as", unset="the dataset's", help="Name of the winner in the registry."
    )
    alias: str = option("--alias", default="winner", help="Alias of the winner's version.")
    final: str = option(
        "--final",
        default="auto",
        help="full retrains the winner on all samples, same does not, auto does where there are "
        "more.",
    )
    seeds: int = option(
        "--seeds",
        default=1,
        type=COUNT,
        help="Trainings of each finalist, each with a seed of its own; the best mean wins.",
    )

    def config(
        self, target: TargetOptions, recall: RecallOptions, recipe: RecipeOptions
    ) -> SelectConfig:
        """Return the settings of the selection."""
        from mlflow_recall.config import SelectConfig
        from mlflow_recall.core.policies.budget import Budget

        named = {
            "threshold": self.threshold,
            "min_gain_per_epoch": self.min_gain_per_epoch,
        }
        hours = self.budget_hours
        return SelectConfig(
            recall=recall.recall_config(target, mode=recipe.mode),
            policy=self.policy,
            policy_options={
                **{name: value for name, value in named.items() if value is not None},
                **self.policy_option,
            },
            budget=Budget(
                math.inf if self.budget_epochs is None else self.budget_epochs,
                math.inf if hours is None else hours * 3600,
            ),
            register_as=self.register_as,
            alias=self.alias,
            final=self.final,
            seeds=self.seeds,
            recipe=recipe.changes(),
        )


@click.command(context_settings=CONTEXT)
@takes(
    target=TargetOptions,
    recall=RecallOptions,
    options=SelectOptions,
    recipe=RecipeOptions,
    store=StoreOptions,
    engine=EngineOptions,
    output=OutputOptions,
)
def select(
    target: TargetOptions,
    recall: RecallOptions,
    options: SelectOptions,
    recipe: RecipeOptions,
    store: StoreOptions,
    engine: EngineOptions,
    output: OutputOptions,
) -> None:
    """Recall the best models for a dataset, fine-tune them in stages, register the winner."""
    from mlflow_recall.workflows.select import run_selection
    from mlflow_recall.workflows.selection import candidate_rows, compare_with_brute_force

    config = options.config(target, recall, recipe)
    with open_session(store, engine, dataset=target.dataset) as session:
        result = run_selection(config, session.services, session.registry)
        output.write(_result_json(result))
        if output.is_for_people:
            session.terminal.table("candidates", candidate_rows(result))
            if result.caution:
                session.terminal.warning(result.caution)
            if comparison := compare_with_brute_force(result):
                session.terminal.info(comparison)
            echo(_outcome(result, session))
    exit_if_failed(result.failed)


def _result_json(result: SelectionResult) -> dict[str, Any]:
    from mlflow_recall.core.history.metrics import to_maximize

    return {
        "winner": result.winner.name,
        "registered": vars(result.registered) if result.registered else None,
        "run_id": result.run_id,
        "metric": result.metric,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "test": dict(result.test),
        "candidates": [
            {
                "model": c.name,
                "status": c.status,
                "stage": c.stage,
                "reason": c.reason,
                "rival": c.rival,
                "run_id": c.run.run_id,
                "seeds": [to_maximize(result.metric, score) for score in c.final_scores],
            }
            for c in result.candidates
        ],
        "cost": dict(result.cost),
        "final": {"epochs": result.final.epochs, "test": dict(result.final.test)},
        "regret": result.regret,
        "budget_stop": result.budget_stop,
        "caution": result.caution,
        "failed": result.failed,
        "recall": recall_json(result.recall),
    }


def _outcome(result: SelectionResult, session: Session) -> str:
    """Return the last line: who won, what it cost, where to look."""
    from mlflow_recall.adapters.figures import run_link

    uri = str(session.services.client.tracking_uri)
    scheme, _, address = uri.rstrip("/").partition("://")
    is_server = scheme in ("http", "https")
    # a browser asks for the user and the password itself
    server = f"{scheme}://{address.rpartition('@')[2]}" if is_server else "http://127.0.0.1:5000"
    link = run_link(server, result.experiment_id, result.run_id)
    where = link if is_server else f"{link} after `mlflow ui --backend-store-uri {uri}`"
    regret = f", regret {result.regret_text}" if result.regret_text else ""
    registered = "not registered"
    if model := result.registered:
        registered = f"registered as {model.name} version {model.version} @{model.alias}"
    budget_stop = f" ({result.budget_stop})" if result.budget_stop else ""
    return (
        f"winner: {result.winner.name}, test {result.metric} "
        f"{result.test[result.metric]:.3f}{regret}, {registered}; {result.epochs} "
        f"epochs{budget_stop} where brute force takes {result.cost['brute_force']} and halving "
        f"{result.cost['halving']}; {where}"
    )
