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
from mlflow_recall.config import RecallConfig
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence
from mlflow_recall.core.recommend.label_distance import label_distances
from mlflow_recall.core.recommend.probe_cost import models_to_probe
from mlflow_recall.core.recommend.recommendation import (
    Recommendation,
    RecommendOptions,
    recommend,
)
from mlflow_recall.core.scores import SCORES, base_of
from mlflow_recall.errors import ConfigError
from mlflow_recall.ports import Probe
from mlflow_recall.safe_text import escape_markdown
from mlflow_recall.workflows.context import SelectionContext, load_context, preferred_defaults
from mlflow_recall.workflows.probes import (
    MIN_PROBES,
    default_scores,
    probe_task,
    run_probes,
    score_probes,
)
from mlflow_recall.workflows.recommendation_tables import log_recommendation, recommendation_rows
from mlflow_recall.workflows.services import Services
from mlflow_recall.workflows.text_encoder import load_encoder

#: recommender that ranks where the requested one needs scores and there are none
_WITHOUT_SCORES = "prior"


@dataclass(frozen=True, eq=False, kw_only=True)
class RecallResult:
    """A ranking for a dataset, and what it is made of."""

    dataset: Dataset
    context: SelectionContext
    evidence: Evidence
    recommendation: Recommendation
    #: score -> representative -> value on the target
    scores: Mapping[str, Mapping[str, float]]
    #: representatives that were probed
    probes: tuple[str, ...]
    #: score or model -> why it was left out
    left_out: Mapping[str, str]
    seconds: float
    #: forward passes, in epochs of training on the target
    epochs: float
    notes: Sequence[str] = ()
    #: what ``auto`` stands for
    defaults: Defaults = field(default_factory=Defaults)

    @property
    def selected(self) -> tuple[str, ...]:
        """The models to train, in the order in which they were selected."""
        return self.recommendation.selected

    @property
    def ranked_by(self) -> str:
        """Recommenders and scores that ranked and selected, for people."""
        names = dict.fromkeys((self.recommendation.ranker, self.recommendation.set_selector))
        return " and ".join(names) + (f" with {', '.join(self.scores)}" if self.scores else "")


def load_target(config: RecallConfig, services: Services) -> tuple[Dataset, SelectionContext]:
    """Prepare the target of a recall, and load what is known before any model looks at it."""
    dataset = services.prepare(config.dataset)
    context = load_context(config.recommend, services, dataset)
    services.report_account(dataset)
    return dataset, context


def recall_models(
    config: RecallConfig, context: SelectionContext, services: Services
) -> RecallResult:
    """Probe the representatives, rank every model, select the set to train.

    Args:
        config: What is asked.
        context: As ``load_target`` returned it.
        services: Engine, registry and store.

    Raises:
        ConfigError: The context has no dataset, or a recommender lacks what it needs.
    """
    if context.dataset is None:
        raise ConfigError("recall: expected a dataset, got none: name it with --dataset")
    dataset, started = context.dataset, time.perf_counter()
    defaults = preferred_defaults(context, services)
    options = config.recommend.recommend_options(context.unit, defaults)
    names = {options.ranker, options.set_selector}
    left_out: dict[str, str] = {}
    label_distance = _label_distance(config, options, context, dataset, services)
    to_probe = models_to_probe(context.clustering, *names)
    probes = _run_probes(config, context, dataset, to_probe, services, left_out)
    uses_scores = any(RECOMMENDERS[name].uses_scores for name in names)
    scores = _compute_scores(config, probes, dataset.task, left_out) if uses_scores else {}
    evidence = replace(
        context.evidence,
        scores={
            name: np.array([values.get(model, np.nan) for model in context.matrix.models])
            for name, values in scores.items()
        },
        label_distance=label_distance,
    )
    notes = []
    if uses_scores and not scores:
        reasons = "".join(f"; {what}: {reason}" for what, reason in left_out.items())
        notes.append(f"no score is usable: ranked by the history alone{reasons}")
        if any(RECOMMENDERS[name].needs_scores for name in names):
            options = replace(options, recommender=_WITHOUT_SCORES)
    recommendation = recommend(evidence, options)
    for note in notes:
        services.reporter.warning(note)
    for note in recommendation.notes:
        services.reporter.info(note)
    notes += recommendation.notes
    return RecallResult(
        dataset=dataset,
        context=context,
        evidence=evidence,
        recommendation=recommendation,
        scores=scores,
        probes=tuple(probes),
        left_out=left_out,
        seconds=time.perf_counter() - started,
        epochs=_probe_epochs(context, probes),
        notes=tuple(notes),
        defaults=defaults,
    )


def run_recall(config: RecallConfig, services: Services) -> tuple[RecallResult, ActiveRun]:
    """Recall as one MLflow run."""
    dataset, context = load_target(config, services)
    writer = RunWriter(services.client, f"{services.namespace}/recall")
    try:
        with writer.managed_run(f"recall for {dataset.name}", "recall", services.run_id) as run:
            result = recall_models(config, context, services)
            run.log_dataset_input(dataset, "target")
            run.log_account(dataset)
            log_recall(result, run)
            recommendation = result.recommendation
            run.set_description(
                f"**{escape_markdown(recommendation.ranking.models[0])}** is recommended first for "
                f"{escape_markdown(dataset.name)}.\n\n"
                f"{figures.markdown_table(recommendation_rows(recommendation))}"
            )
    finally:
        writer.close()
    return result, run


def log_recall(result: RecallResult, run: ActiveRun) -> None:
    """Log ranking, parts and cost of a recall to a run."""
    log_recommendation(result.recommendation, run, "recall")
    run.set_tags(
        {
            tags.MODALITY: result.dataset.modality,
            tags.DATASET: result.dataset.name,
            tags.TASK: result.dataset.task,
            tags.METRIC: result.context.metric.target,
            tags.DIGEST: result.dataset.digest,
            tags.SCORE: ", ".join(result.scores) or "none",
            **{f"{tags.LEFT_OUT}.{_tag(what)}": why for what, why in result.left_out.items()},
        }
    )
    run.log_metrics(
        {
            "recall/probes": len(result.probes),
            "recall/seconds": result.seconds,
            "recall/epochs": result.epochs,
            "recall/models": len(result.recommendation.ranking.models),
            "recall/p_holds_best": result.recommendation.p_holds_best,
        }
    )


def _tag(text: str) -> str:
    """Return a name that MLflow takes for a tag: letters, digits and a few signs."""
    return "".join(c if c.isalnum() or c in "_-./" else "_" for c in text)


def _run_probes(
    config: RecallConfig,
    context: SelectionContext,
    dataset: Dataset,
    names: Sequence[str],
    services: Services,
    left_out: dict[str, str],
) -> dict[str, Probe]:
    """Run one forward pass of every representative over a sample of the target."""
    if not names:
        return {}
    tasks = [
        probe_task(context.members[name], dataset, context.comparable, config.probe_samples)
        for name in names
    ]
    results = dict(
        zip(names, run_probes(tasks, services, ("representative", "representatives")), strict=True)
    )
    left_out.update({name: why for name, why in results.items() if isinstance(why, str)})
    return {name: probe for name, probe in results.items() if isinstance(probe, Probe)}


def _compute_scores(
    config: RecallConfig, probes: Mapping[str, Probe], task: str, left_out: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Return score -> representative -> value, of the scores that tell the models apart.

    Every score is later standardized on its own: two scales are never mixed.
    """
    has_real_heads = bool(probes) and all(p.probabilities is not None for p in probes.values())
    names = config.scores or default_scores(task, has_real_heads=has_real_heads)
    if len(probes) < MIN_PROBES:
        if not left_out:
            left_out["scores"] = (
                f"expected probes of at least {MIN_PROBES} representatives, got {len(probes)}"
            )
        return {}
    if not has_real_heads:
        for name in [name for name in names if SCORES[base_of(name)].needs == "probabilities"]:
            left_out[name] = "not every representative has a real source head"
        names = tuple(name for name in names if name not in left_out)
    return score_probes(probes, names, task, left_out)


def _label_distance(
    config: RecallConfig,
    options: RecommendOptions,
    context: SelectionContext,
    dataset: Dataset,
    services: Services,
) -> FloatArray | None:
    """Return (d + 1, d + 1) distances of class names, the target's last; None if not requested."""
    if config.label_encoder is None:
        return None
    if not any(RECOMMENDERS[n].reads_labels for n in (options.ranker, options.set_selector)):
        readers = [name for name in RECOMMENDERS if RECOMMENDERS[name].reads_labels]
        raise ConfigError(
            f"label_encoder: expected a recommender that compares class names "
            f"({', '.join(readers)}), got {options.ranker}: name one with --recommender"
        )
    names = {record.dataset: class_names(record) for record in context.comparable.records}
    recorded = [names[dataset] for dataset in context.matrix.datasets]
    known = sum(map(bool, recorded))
    if known < len(recorded):
        services.reporter.warning(
            f"class names are known of {known} of {len(recorded)} recorded datasets"
        )
    encode = load_encoder(config.label_encoder, services)
    return label_distances([*recorded, dataset.classes], encode)


def _probe_epochs(context: SelectionContext, probes: Mapping[str, Probe]) -> float:
    """Return the seconds of the probes over the recorded seconds of an epoch of these models."""
    recorded: dict[str, list[float]] = {}
    for record in context.comparable.records:
        recorded.setdefault(record.model, []).extend(record.seconds)
    return float(
        sum(
            probe.seconds / np.mean(recorded[name])
            for name, probe in probes.items()
            if recorded.get(name)
        )
    )
