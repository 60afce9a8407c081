"""The command ``explain``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from mlflow_recall.cli.example import is_example
from mlflow_recall.cli.groups import (
    METRIC_IN_USE,
    EngineOptions,
    RecallOptions,
    StoreOptions,
    TableOptions,
    TargetOptions,
)
from mlflow_recall.cli.options import CONTEXT, argument, takes
from mlflow_recall.cli.output import OutputOptions, echo
from mlflow_recall.cli.session import open_session
from mlflow_recall.cli.tables import open_tables
from mlflow_recall.errors import ConfigError

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.workflows.explain import Explanation


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """Which model is explained."""

    model: str | None = argument(required=False, metavar="MODEL")


@click.command(context_settings=CONTEXT)
@takes(
    explained=ExplainOptions,
    target=TargetOptions,
    tables=TableOptions,
    options=RecallOptions,
    store=StoreOptions,
    engine=EngineOptions,
    output=OutputOptions,
)
def explain(
    explained: ExplainOptions,
    target: TargetOptions,
    tables: TableOptions,
    options: RecallOptions,
    store: StoreOptions,
    engine: EngineOptions,
    output: OutputOptions,
) -> None:
    """Say what each part of a recall adds for MODEL, and what is recorded of it."""
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.core.formatting import join_names
    from mlflow_recall.workflows.explain import explain_model
    from mlflow_recall.workflows.recall import load_target, recall_models
    from mlflow_recall.workflows.recommend import recommend_from_tables

    model, tables = _read_model(explained.model, tables)
    if tables.history:
        terminal = Terminal()
        dataset = None if is_example(target.dataset) else target.dataset
        history = open_tables(tables, terminal, options.metric)
        result = recommend_from_tables(options.recommend_config(tables), history, dataset)
        records = result.comparable.records
        explanation = explain_model(result.recommendation, result.evidence, model, records)
        _show(explanation, output, terminal)
        return
    with open_session(store, engine, dataset=target.dataset) as session:
        config = options.recall_config(target)
        _, context = load_target(config, session.services)
        models = context.matrix.models
        name = model if model in models else session.registry.name_of(model)
        if name not in models:  # before anything is computed
            raise ConfigError(f"explain: expected one of {join_names(models)}, got {model!r}")
        recalled = recall_models(config, context, session.services)
        explanation = explain_model(
            recalled.recommendation, recalled.evidence, name, context.comparable.records
        )
        _show(explanation, output, session.terminal)


def _read_model(model: str | None, tables: TableOptions) -> tuple[str, TableOptions]:
    """Return MODEL and the options; a MODEL after ``--minimize`` is parsed as its value."""
    if model is not None:
        return model, tables
    if not tables.minimize or tables.minimize[-1] == METRIC_IN_USE:
        raise click.MissingParameter(param_hint="MODEL", param_type="argument")
    *others, name = tables.minimize
    return name, replace(tables, minimize=(*others, METRIC_IN_USE))


def _show(explanation: Explanation, output: OutputOptions, terminal: Terminal) -> None:
    output.write(vars(explanation))
    if not output.is_for_people:
        return
    terminal.table("what each part adds", explanation.parts)
    terminal.table(f"on recorded datasets, by {explanation.metric}", explanation.recorded)
    if explanation.representative:
        members = ", ".join(explanation.cluster)
        terminal.info(f"cluster of {explanation.representative}: {members}")
    echo(
        f"{explanation.model} ranks {explanation.rank} of {explanation.out_of} and is "
        f"{'in' if explanation.is_selected else 'not in'} the set to train"
    )
