"""Datasets of the hub whose columns and splits are known by their name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.super_glue import (
    Rewrite,
    expand_answers,
    expand_choices,
    mark_mentions,
    mark_words,
)
from mlflow_recall.core.history.tasks import CLASSIFICATION, REGRESSION


@dataclass(frozen=True, kw_only=True)
class KnownDataset:
    """The columns of one configuration, and the splits that have names of their own."""

    text: str
    text_pair: str = ""
    label: str = "label"
    task: str = CLASSIFICATION
    #: metric that it is judged by; empty: that of its task
    metric: str = ""
    #: number that stands for a label that is not told; None: none does
    hidden: float | None = None
    #: how its rows become texts or pairs; None: they are
    rewrite: Rewrite | None = None
    #: name of a split in the source -> its name here
    splits: Mapping[str, str] = field(default_factory=dict)


_FIRST_SECOND = KnownDataset(text="sentence1", text_pair="sentence2")
_STS = replace(_FIRST_SECOND, task=REGRESSION, hidden=-1.0)
_PREMISE = KnownDataset(text="premise", text_pair="hypothesis")
_SENTENCE = KnownDataset(text="sentence")
_TEXT, _PAIR = KnownDataset(text="text"), KnownDataset(text="text", text_pair="text_pair")

#: (hub id, configuration) -> what is known of it: GLUE (Wang et al. 2019, arXiv:1804.07461) and
#: SuperGLUE (Wang et al. 2019, arXiv:1905.00537) but ReCoRD, which has no classes
KNOWN_DATASETS: Mapping[tuple[str, str], KnownDataset] = MappingProxyType(
    {
        ("nyu-mll/glue", "cola"): replace(_SENTENCE, metric="matthews"),
        ("nyu-mll/glue", "sst2"): _SENTENCE,
        ("nyu-mll/glue", "mrpc"): replace(_FIRST_SECOND, metric="f1"),
        ("nyu-mll/glue", "rte"): _FIRST_SECOND,
        ("nyu-mll/glue", "wnli"): _FIRST_SECOND,
        ("nyu-mll/glue", "qqp"): KnownDataset(text="question1", text_pair="question2", metric="f1"),
        ("nyu-mll/glue", "stsb"): _STS,
        ("nyu-mll/glue", "qnli"): KnownDataset(text="question", text_pair="sentence"),
        ("nyu-mll/glue", "mnli"): replace(
            _PREMISE, splits={"validation_matched": "validation", "test_matched": "test"}
        ),
        ("aps/super_glue", "boolq"): KnownDataset(text="question", text_pair="passage"),
        ("aps/super_glue", "cb"): _PREMISE,
        ("aps/super_glue", "rte"): _PREMISE,
        ("aps/super_glue", "wic"): replace(_FIRST_SECOND, rewrite=mark_words),
        ("aps/super_glue", "wsc"): replace(_TEXT, rewrite=mark_mentions),
        ("aps/super_glue", "wsc.fixed"): replace(_TEXT, rewrite=mark_mentions),
        ("aps/super_glue", "copa"): replace(
            _PAIR, rewrite=expand_choices, metric="choice_accuracy"
        ),
        ("aps/super_glue", "multirc"): replace(_PAIR, rewrite=expand_answers, metric="f1"),
    }
)


def find_known(spec: DatasetSpec) -> KnownDataset | None:
    """Return what is known of a dataset of the hub, or of a copy in a folder of the same name."""
    name = "/".join(spec.path.rstrip("/").split("/")[-2:])
    return KNOWN_DATASETS.get((name, spec.config))


def with_known_columns(spec: DatasetSpec) -> DatasetSpec:
    """Return a specification with the known columns, where it names none itself."""
    known = find_known(spec)
    if known is None or spec.image:
        return spec
    if not spec.text:
        spec = replace(spec, text=known.text, text_pair=known.text_pair)
    if not spec.labels:
        spec = replace(spec, label=spec.label or known.label)
    return replace(spec, task=spec.task or known.task, metric=spec.metric or known.metric)
