"""Which models would you try? From the history alone, or from plain tables; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mlflow_recall.adapters import figures, tags
from mlflow_recall.adapters.defaults import read_defaults
from mlflow_recall.adapters.ledger import Ledger
from mlflow_recall.config import RecommendConfig
from mlflow_recall.core.advice import Advice, advise
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clustering import cluster, unclustered
from mlflow_recall.core.cold_start import evidence_of, joined
from mlflow_recall.core.history import Usable, usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.records import Member, Record
from mlflow_recall.errors import HistoryError, SettingError, ZooError
from mlflow_recall.ports import Tables
from mlflow_recall.workflows.advice import advice_rows, log_advice
from mlflow_recall.workflows.bench import Bench, chosen
from mlflow_recall.workflows.newcomers import expected


@dataclass(frozen=True, eq=False)
class Recommended:
    """Advice, and the evidence that it rests on."""

    evidence: Evidence
    advice: Advice
    #: empty where none was named
    dataset: str
    modality: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""


@dataclass(frozen=True, eq=False)
class Survey:
    """What a zoo's history says of a dataset that nobody has looked at yet."""

    evidence: Evidence
    #: in the order of the evidence
    members: Sequence[Member]
    usable: Usable
    modality: str
    #: model -> the constraint that it does not fulfil
    refused: Mapping[str, str]


def survey_zoo(config: RecommendConfig, bench: Bench, *, trainable: bool = False) -> Survey:
    """Read the zoo and its history; ``trainable``: only models whose weights are there.

    Raises:
        RecallError: no model or no history is left.
    """
    members = bench.registry.members(bench.voice.say)
    records = bench.history.records(config.metric)
    modality = _modality(config, records)
    kept = usable(records, modality, members=members)
    for note in kept.notes:
        bench.voice.say(f"note: {note}")
    there = [m for m in members if m.modality == modality and (m.available or not trainable)]
    kind = f"models of modality {modality or 'any'}{' with weights' if trainable else ''}"
    if not there:
        raise ZooError(
            f"registry: expected {kind}, got none: register some with `mlflow-recall register "
            "--zoo FILE`; `cluster` and `backtest` need none"
        )
    wanted, refused = config.constraints.split(chosen(there, config.models))
    if not wanted:
        raise ZooError(f"constraints: expected {kind} that fulfil them, got none of {len(there)}")
    matrix = PerformanceMatrix.of(kept.records).take(member.name for member in wanted)
    clustering = cluster(matrix, prefix=modality) if _clusterable(matrix) else unclustered()
    new = expected(matrix, clustering, wanted, config.metric)
    evidence = evidence_of(matrix, joined(clustering, new), wanted, new)
    return Survey(evidence, wanted, kept, modality, refused)


def recommend_zoo(config: RecommendConfig, bench: Bench) -> Recommended:
    """Recommend from the history of a zoo, for a dataset that nobody has looked at yet.

    Raises:
        RecallError: no model or no history is left.
    """
    found = survey_zoo(config, bench)
    evidence, modality = found.evidence, found.modality
    defaults = read_defaults(bench.client, bench.namespace, modality, config.metric)
    advice = advise(evidence, replace(config.wish, defaults=defaults))
    ledger = Ledger(bench.client, f"{bench.namespace}/recommend")
    try:
        with ledger.running(f"recommend {modality}", "recommend", bench.run_id) as run:
            said = Recommended(evidence, advice, "", modality, found.refused, run.run_id)
            log_advice(advice, run, "recommend")
            run.tag({tags.MODALITY: modality})
            run.describe(
                f"**{advice.ranking.models[0]}** would be tried first on an unknown {modality} "
                f"dataset.\n\n{figures.markdown_table(advice_rows(advice))}"
            )
    finally:
        ledger.close()
    return said


def recommend_tables(config: RecommendConfig, folder: Tables, dataset: str) -> Recommended:
    """Recommend from plain tables, for one of their datasets as if it were new, or for none.

    Scores of ``proxy.csv`` on that dataset speak for the models; those on the others teach how far
    scores can be trusted.

    Raises:
        HistoryError: the dataset has neither records nor scores.
    """
    records = folder.records(config.metric)
    modality = _modality(config, records)
    matrix = PerformanceMatrix.of(usable(records, modality).records)
    for name in config.drop:
        if name not in matrix.datasets:
            raise HistoryError(
                f"drop-dataset: expected one of {', '.join(matrix.datasets)}, got {name!r}"
            )
        matrix = matrix.without(name)
    table = folder.scores()
    scored = {where for cells in table.values() for _, where in cells}
    if dataset and dataset not in {*matrix.datasets, *scored}:
        known = ", ".join(sorted({*matrix.datasets, *scored}))
        raise HistoryError(f"dataset: expected one of {known}, got {dataset!r}")
    history = matrix.without(dataset)
    scores = {name: _scores_on(cells, history.models, dataset) for name, cells in table.items()}
    past = {
        name: np.column_stack(
            [_scores_on(cells, history.models, each) for each in history.datasets]
        )
        for name, cells in table.items()
        if history.datasets
    }
    features = folder.dataset_features()
    evidence = Evidence(
        history,
        cluster(history) if _clusterable(history) else unclustered(),
        scores={name: values for name, values in scores.items() if not np.isnan(values).all()},
        past={name: values for name, values in past.items() if not np.isnan(values).all()},
        model_features={
            name: [column.get(model, _unknown(column)) for model in history.models]
            for name, column in folder.model_features().items()
        },
        dataset_features={
            name: [column.get(each, _unknown(column)) for each in history.datasets]
            for name, column in features.items()
        },
        target_features={
            name: column.get(dataset, _unknown(column)) for name, column in features.items()
        },
    )
    return Recommended(evidence, advise(evidence, config.wish), dataset, modality)


def _modality(config: RecommendConfig, records: Sequence[Record]) -> str:
    """The one that was named, or the only one that is recorded; plain tables have none."""
    modalities = sorted({record.modality for record in records if record.complete})
    if not config.modality and len(modalities) > 1:
        raise SettingError(
            f"modality: the history has {', '.join(modalities)}: name one with --modality"
        )
    return config.modality or (modalities[0] if modalities else "")


def _scores_on(
    cells: Mapping[tuple[str, str], float], models: Sequence[str], dataset: str
) -> FloatArray:
    return np.array([cells.get((model, dataset), np.nan) for model in models])


def _unknown(column: Mapping[str, float | str]) -> float | str:
    """What an unknown feature is, in a column of its kind."""
    return "" if any(isinstance(value, str) for value in column.values()) else np.nan


def _clusterable(matrix: PerformanceMatrix) -> bool:
    return int((~np.isnan(matrix.mean)).sum()) >= 2
