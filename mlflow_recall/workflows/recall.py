"""Dataset + history -> a ranking of the zoo, and the K models to train."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mlflow_recall.adapters import figures, tags
from mlflow_recall.adapters.defaults import read_defaults
from mlflow_recall.adapters.ledger import Ledger, OpenRun
from mlflow_recall.adapters.recorded import classes_of
from mlflow_recall.config import RecallConfig
from mlflow_recall.core.advice import Advice, Wish, advise
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.labels import label_distances
from mlflow_recall.core.probing import SCORELESS
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.scores import base_of, known_scores
from mlflow_recall.errors import SettingError
from mlflow_recall.ports import Probe
from mlflow_recall.workflows.advice import advice_rows, log_advice
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.encoder import encoder_of
from mlflow_recall.workflows.probing import LEAST, SCORES, probe, scores_of, task_of
from mlflow_recall.workflows.prospect import Prospect, survey

#: recommenders that know how the classes of datasets are called
_READS_LABELS = {"linear", "factorization"}
#: recommenders that say nothing without scores; the history ranks in their place
_NEEDS_SCORES = {"interleaved", "paper", "paper_code"}


@dataclass(frozen=True, eq=False)
class Recalled:
    """A ranking with what it is made of."""

    prospect: Prospect
    evidence: Evidence
    advice: Advice
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
    def chosen(self) -> tuple[str, ...]:
        """The models to train, as they were picked."""
        return self.advice.chosen

    @property
    def by(self) -> str:
        """What ranked and picked, and with which scores, for people."""
        advice = self.advice
        names = dict.fromkeys((advice.ranker, advice.picker))
        return " and ".join(names) + (f" with {', '.join(self.scores)}" if self.scores else "")


def recall(config: RecallConfig, prospect: Prospect, bench: Bench) -> Recalled:
    """Probe the representatives, rank everyone, pick the set to train."""
    started = time.perf_counter()
    left_out: dict[str, str] = {}
    defaults = read_defaults(
        bench.client, bench.namespace, prospect.dataset.modality, config.metric
    )
    wish, notes = replace(config.wish, defaults=defaults), []
    blind = SCORELESS.issuperset((wish.ranker, wish.picker))
    label_distance = _label_distance(config, wish, prospect, bench)
    probes = {} if blind else _probe(config, prospect, bench, left_out)
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
        if {wish.ranker, wish.picker} & _NEEDS_SCORES:
            wish = replace(wish, recommender="prior")
    advice = advise(evidence, wish)
    notes += advice.notes
    for note in notes:
        bench.voice.say(f"note: {note}")
    return Recalled(
        prospect=prospect,
        evidence=evidence,
        advice=advice,
        scores=scores,
        probes=tuple(probes),
        left_out=left_out,
        seconds=time.perf_counter() - started,
        epochs=_epochs(prospect, probes),
        notes=tuple(notes),
        defaults=defaults,
    )


def recall_run(config: RecallConfig, bench: Bench) -> tuple[Recalled, OpenRun]:
    """A recall of its own, as one MLflow run."""
    prospect = survey(config, bench)
    ledger = Ledger(bench.client, f"{bench.namespace}/recall")
    title = f"recall for {prospect.dataset.name}"
    try:
        with ledger.running(title, "recall", bench.run_id) as run:
            run.reads(prospect.dataset, "target")
            recalled = recall(config, prospect, bench)
            log_recall(recalled, run)
            run.describe(
                f"**{recalled.advice.ranking.models[0]}** is recommended first for "
                f"{prospect.dataset.name}.\n\n{figures.markdown_table(advice_rows(recalled.advice))}"
            )
    finally:
        ledger.close()
    return recalled, run


def log_recall(recalled: Recalled, run: OpenRun) -> None:
    """Ranking, parts and cost of a recall into a run."""
    log_advice(recalled.advice, run, "recall")
    run.tag(
        {
            tags.MODALITY: recalled.prospect.dataset.modality,
            tags.DATASET: recalled.prospect.dataset.name,
            tags.DIGEST: recalled.prospect.dataset.digest,
            "recall.score": ", ".join(recalled.scores) or "none",
            **{f"recall.left_out.{_tag(what)}": why for what, why in recalled.left_out.items()},
        }
    )
    run.log(
        {
            "recall/probes": len(recalled.probes),
            "recall/seconds": recalled.seconds,
            "recall/epochs": recalled.epochs,
            "recall/models": len(recalled.advice.ranking.models),
            "recall/p_holds_best": recalled.advice.p_holds_best,
        }
    )


def _tag(what: str) -> str:
    """Names of tags take letters, digits and a few signs."""
    return "".join(c if c.isalnum() or c in "_-./" else "_" for c in what)


def _probe(
    config: RecallConfig, prospect: Prospect, bench: Bench, left_out: dict[str, str]
) -> dict[str, Probe]:
    """One forward pass of every representative over a sample of the target."""
    names = prospect.clustering.probes
    tasks = [
        task_of(prospect.members[name], prospect.dataset, prospect.usable, config.probe_samples)
        for name in names
    ]
    found = dict(zip(names, probe(tasks, bench, "representatives"), strict=True))
    left_out.update({name: why for name, why in found.items() if isinstance(why, str)})
    return {name: seen for name, seen in found.items() if isinstance(seen, Probe)}


def _scores(
    config: RecallConfig,
    probes: Mapping[str, Probe],
    left_out: dict[str, str],
) -> dict[str, dict[str, float]]:
    """Score -> representative -> value, of the scores that say something.

    Every score is later standardised on its own: two scales are never mixed.
    """
    table = known_scores()
    real_heads = bool(probes) and all(p.probabilities is not None for p in probes.values())
    names = config.scores or (("leep",) if real_heads else ()) + SCORES
    if len(probes) < LEAST:
        if not left_out:
            left_out["scores"] = f"{len(probes)} representatives were probed, 2 are needed"
        return {}
    if not real_heads:
        for name in [name for name in names if table[base_of(name)].needs == "probabilities"]:
            left_out[name] = "not every representative has a real source head"
        names = tuple(name for name in names if name not in left_out)
    return scores_of(probes, names, left_out)


def _label_distance(
    config: RecallConfig, wish: Wish, prospect: Prospect, bench: Bench
) -> FloatArray | None:
    """(d + 1, d + 1) distances of class names, the target's last; None where nobody asks."""
    if not config.label_encoder:
        return None
    if not {wish.ranker, wish.picker} & _READS_LABELS:
        raise SettingError(
            f"label_encoder: expected a recommender that looks at class names "
            f"({', '.join(sorted(_READS_LABELS))}), got {wish.ranker}: name one with --recommender"
        )
    names = {record.dataset: classes_of(record) for record in prospect.usable.records}
    recorded = [names[dataset] for dataset in prospect.matrix.datasets]
    known = sum(map(bool, recorded))
    if known < len(recorded):
        bench.voice.say(
            f"note: the class names of {known} of {len(recorded)} recorded datasets are known"
        )
    encode = encoder_of(config.label_encoder, bench)
    return label_distances([*recorded, prospect.dataset.classes], encode)


def _epochs(prospect: Prospect, probes: Mapping[str, Probe]) -> float:
    """Seconds of the probes over the seconds of an epoch of the same models, as recorded."""
    recorded: dict[str, list[float]] = {}
    for record in prospect.usable.records:
        recorded.setdefault(record.model, []).extend(record.seconds)
    return float(
        sum(
            probe.seconds / np.mean(recorded[name])
            for name, probe in probes.items()
            if recorded.get(name)
        )
    )
