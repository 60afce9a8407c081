"""Dataset + history -> a ranking of the zoo, and the K models to train."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.data.restore import class_names
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter
from mlflow_recall.adapters.tracking.stored_defaults import read_defaults
from mlflow_recall.config import RecallConfig
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.label_distance import label_distances
from mlflow_recall.core.recommend.probe_cost import SCORELESS
from mlflow_recall.core.recommend.recommendation import Recommendation, RecommendOptions, recommend
from mlflow_recall.core.scores import base_of, known_scores
from mlflow_recall.errors import ConfigError
from mlflow_recall.ports import Probe
from mlflow_recall.workflows.context import SelectionContext, load_context
from mlflow_recall.workflows.probes import (
    DEFAULT_SCORES,
    MIN_PROBES,
    probe_task,
    run_probes,
    score_probes,
)
from mlflow_recall.workflows.recommendation_tables import log_recommendation, recommendation_rows
from mlflow_recall.workflows.services import Services
from mlflow_recall.workflows.text_encoder import load_encoder

#: recommenders that know how the classes of datasets are called
_READS_LABELS = {"linear", "factorization"}
#: recommenders that say nothing without scores; the history ranks in their place
_NEEDS_SCORES = {"interleaved", "paper", "paper_code"}


@dataclass(frozen=True, eq=False)
class RecallResult:
    """A ranking with what it is made of."""

    context: SelectionContext
    evidence: Evidence
    recommendation: Recommendation
    #: score -> representative -> value on the target
    scores: Mapping[str, Mapping[str, float]]
    #: representatives that looked at the target
    probes: tuple[str, ...]
    #: score or model -> why it was left out
    left_out: Mapping[str, str]
    seconds: float
    #: forward passes, in epochs of training on the target
    epochs: float
    notes: Sequence[str] = field(default_factory=tuple)
    #: what stands behind ``auto``
    defaults: Defaults = field(default_factory=Defaults)

    @property
    def selected(self) -> tuple[str, ...]:
        """The models to train, as they were picked."""
        return self.recommendation.selected

    @property
    def ranked_by(self) -> str:
        """What ranked and picked, and with which scores, for people."""
        advice = self.recommendation
        names = dict.fromkeys((advice.ranker, advice.set_selector))
        return " and ".join(names) + (f" with {', '.join(self.scores)}" if self.scores else "")


def recall_models(
    config: RecallConfig, prospect: SelectionContext, services: Services
) -> RecallResult:
    """Probe the representatives, rank everyone, pick the set to train."""
    started = time.perf_counter()
    left_out: dict[str, str] = {}
    defaults = read_defaults(
        services.client, services.namespace, prospect.dataset.modality, config.metric
    )
    options, notes = replace(config.recommend_options, defaults=defaults), []
    blind = SCORELESS.issuperset((options.ranker, options.set_selector))
    label_distance = _label_distance(config, options, prospect, services)
    probes = {} if blind else _probe(config, prospect, services, left_out)
    scores = _scores(config, probes, left_out)
    evidence = replace(
        prospect.evidence,
        scores={
            name: np.array([values.get(model, np.nan) for model in prospect.matrix.models])
            for name, values in scores.items()
        },
        label_distance=label_distance,
    )
    if not scores and not blind:
        notes.append(
            "no score is usable: ranked by the history alone"
            + "".join(f"; {what}: {why}" for what, why in left_out.items())
        )
        if {options.ranker, options.set_selector} & _NEEDS_SCORES:
            options = replace(options, recommender="prior")
    advice = recommend(evidence, options)
    notes += advice.notes
    for note in notes:
        services.reporter.info(f"note: {note}")
    return RecallResult(
        context=prospect,
        evidence=evidence,
        recommendation=advice,
        scores=scores,
        probes=tuple(probes),
        left_out=left_out,
        seconds=time.perf_counter() - started,
        epochs=_epochs(prospect, probes),
        notes=tuple(notes),
        defaults=defaults,
    )


def run_recall(config: RecallConfig, services: Services) -> tuple[RecallResult, ActiveRun]:
    """A recall of its own, as one MLflow run."""
    prospect = load_context(config, services)
    writer = RunWriter(services.client, f"{services.namespace}/recall")
    title = f"recall for {prospect.dataset.name}"
    try:
        with writer.managed_run(title, "recall", services.run_id) as run:
            run.log_dataset_input(prospect.dataset, "target")
            recall_result = recall_models(config, prospect, services)
            log_recall(recall_result, run)
            run.set_description(
                f"**{recall_result.recommendation.ranking.models[0]}** is recommended first for "
                f"{prospect.dataset.name}.\n\n{figures.markdown_table(recommendation_rows(recall_result.recommendation))}"
            )
    finally:
        writer.close()
    return recall_result, run


def log_recall(recall_result: RecallResult, run: ActiveRun) -> None:
    """Ranking, parts and cost of a recall into a run."""
    log_recommendation(recall_result.recommendation, run, "recall")
    run.set_tags(
        {
            tags.MODALITY: recall_result.context.dataset.modality,
            tags.DATASET: recall_result.context.dataset.name,
            tags.DIGEST: recall_result.context.dataset.digest,
            "recall.score": ", ".join(recall_result.scores) or "none",
            **{
                f"recall.left_out.{_tag(what)}": why for what, why in recall_result.left_out.items()
            },
        }
    )
    run.log_metrics(
        {
            "recall/probes": len(recall_result.probes),
            "recall/seconds": recall_result.seconds,
            "recall/epochs": recall_result.epochs,
            "recall/models": len(recall_result.recommendation.ranking.models),
            "recall/p_holds_best": recall_result.recommendation.p_holds_best,
        }
    )


def _tag(what: str) -> str:
    """Names of tags take letters, digits and a few signs."""
    return "".join(c if c.isalnum() or c in "_-./" else "_" for c in what)


def _probe(
    config: RecallConfig, prospect: SelectionContext, services: Services, left_out: dict[str, str]
) -> dict[str, Probe]:
    """One forward pass of every representative over a sample of the target."""
    names = prospect.clustering.representatives
    tasks = [
        probe_task(
            prospect.members[name], prospect.dataset, prospect.comparable, config.probe_samples
        )
        for name in names
    ]
    found = dict(zip(names, run_probes(tasks, services, "representatives"), strict=True))
    left_out.update({name: why for name, why in found.items() if isinstance(why, str)})
    return {name: seen for name, seen in found.items() if isinstance(seen, Probe)}


def _scores(
    config: RecallConfig,
    probes: Mapping[str, Probe],
    left_out: dict[str, str],
) -> dict[str, dict[str, float]]:
    """Score -> representative -> value, of the scores that say something.

    Every score is later standardized on its own: two scales are never mixed.
    """
    table = known_scores()
    real_heads = bool(probes) and all(p.probabilities is not None for p in probes.values())
    names = config.scores or (("leep",) if real_heads else ()) + DEFAULT_SCORES
    if len(probes) < MIN_PROBES:
        if not left_out:
            left_out["scores"] = f"{len(probes)} representatives were probed, 2 are needed"
        return {}
    if not real_heads:
        for name in [name for name in names if table[base_of(name)].needs == "probabilities"]:
            left_out[name] = "not every representative has a real source head"
        names = tuple(name for name in names if name not in left_out)
    return score_probes(probes, names, left_out)


def _label_distance(
    config: RecallConfig, options: RecommendOptions, prospect: SelectionContext, services: Services
) -> FloatArray | None:
    """(d + 1, d + 1) distances of class names, the target's last; None where nobody asks."""
    if not config.label_encoder:
        return None
    if not {options.ranker, options.set_selector} & _READS_LABELS:
        raise ConfigError(
            f"label_encoder: expected a recommender that looks at class names "
            f"({', '.join(sorted(_READS_LABELS))}), got {options.ranker}: name one with --recommender"
        )
    names = {record.dataset: class_names(record) for record in prospect.comparable.records}
    recorded = [names[dataset] for dataset in prospect.matrix.datasets]
    known = sum(map(bool, recorded))
    if known < len(recorded):
        services.reporter.info(
            f"note: the class names of {known} of {len(recorded)} recorded datasets are known"
        )
    encode = load_encoder(config.label_encoder, services)
    return label_distances([*recorded, prospect.dataset.classes], encode)


def _epochs(prospect: SelectionContext, probes: Mapping[str, Probe]) -> float:
    """Seconds of the probes over the seconds of an epoch of the same models, as recorded."""
    recorded: dict[str, list[float]] = {}
    for record in prospect.comparable.records:
        recorded.setdefault(record.model, []).extend(record.seconds)
    return float(
        sum(
            probe.seconds / np.mean(recorded[name])
            for name, probe in probes.items()
            if recorded.get(name)
        )
    )
