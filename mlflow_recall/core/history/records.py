"""Benchmark fine-tunings, models and datasets as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow_recall.core.dataset_account import DatasetAccount
from mlflow_recall.core.history.tasks import CLASSIFICATION, PRIMARY_METRICS, Target


@dataclass(frozen=True, kw_only=True)
class Record:
    """One benchmark fine-tuning of one model on one dataset; scores are higher-is-better."""

    model: str
    dataset: str
    #: score on the validation split after each stage (epoch), oldest first
    validation_scores: tuple[float, ...] = ()
    #: final score on the test split; NaN where it was not measured
    final_score: float = math.nan
    #: score on the test split after each stage; empty where only the last one was tested
    test_scores: tuple[float, ...] = ()
    #: stages of the recipe; a shorter curve is a partial one
    epochs: int = 0
    #: wall-clock seconds of each stage
    seconds: tuple[float, ...] = ()
    modality: str = ""
    #: digest of the dataset, version of the model, and the recipe as JSON: the key of its cell
    dataset_digest: str = ""
    model_version: str = ""
    recipe: str = ""
    #: names of the classes of its dataset; empty where they are unknown
    class_names: tuple[str, ...] = ()
    #: task of its dataset
    task: str = CLASSIFICATION
    #: metric of its scores; empty where it does not matter
    metric: str = ""
    #: how its dataset can be prepared again, as JSON; empty where that is unknown
    dataset_spec: str = ""
    run_id: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether it was trained to the last stage of its recipe and tested."""
        return len(self.validation_scores) >= self.epochs and not math.isnan(self.final_score)


@dataclass(frozen=True, kw_only=True)
class Member:
    """A registered model version that can be fine-tuned."""

    name: str
    version: str
    #: ``text`` or ``image``
    modality: str
    #: ``transformers/<model type>`` or ``timm/<architecture>``
    arch: str
    family: str = ""
    #: where its weights come from, such as ``hf:/org/name``; empty where that is unknown
    source: str = ""
    #: dataset that it was pre-trained on; empty where that is unknown
    upstream: str = ""
    #: empty where it is unknown
    license: str = ""
    #: model that a selection trained further to make this one; None: it was registered as it is
    base_model: str | None = None
    #: parameters of the backbone, without a head; None where they are unknown
    parameters: int | None = None
    #: 10^9 multiply-adds of a forward pass over one sample; None where they are unknown
    gmacs: float | None = None
    #: size of that sample: tokens, or pixels of a side; None where it is unknown
    input_size: int | None = None
    #: whether its weights can be resolved; a model without them has a history, but is not trained
    is_available: bool = True
    #: whether its head was trained on real source classes, which LEEP and NCE need
    has_source_head: bool = False
    #: arguments that shape the architecture, e.g. ``{"num_hidden_layers": 4}``
    config: Mapping[str, object] = field(default_factory=dict)
    #: fields of the recipe that differ from its family's default
    recipe: Mapping[str, object] = field(default_factory=dict)
    #: id of its cluster, as the clustering job tagged it; empty without one
    cluster: str = ""
    is_representative: bool = False
    #: all tags of the registry
    tags: Mapping[str, str] = field(default_factory=dict)
    #: text that describes it, from the registry: model, family and upstream data
    description: str = ""
    #: digest of the weights, or what distinguishes versions that are kept in different registries
    identity: str = ""
    #: whether the weights are outside of MLflow, so that they may change under one version
    is_external: bool = False

    @property
    def library(self) -> str:
        """``transformers`` or ``timm``."""
        return self.arch.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset, split and stored where every worker can read it."""

    name: str
    #: identifies content, columns and split
    digest: str
    modality: str
    #: names of classes or labels, which targets are indices of; none for a regression
    classes: tuple[str, ...]
    #: samples of each split
    sizes: Mapping[str, int]
    #: where it came from, for people
    source: str
    #: folder of the prepared copy
    folder: str
    #: how it can be prepared again, as JSON; empty where that is unknown
    spec: str = ""
    #: ``classification``, ``multilabel`` or ``regression``
    task: str = CLASSIFICATION
    #: metric that models are compared by on it; empty: that of its task
    own_metric: str = ""
    #: mean and standard deviation of the numbers in the training split of a regression
    mean: float = 0.0
    std: float = 1.0
    #: whether a sample is a pair of texts
    has_pairs: bool = False
    #: whether several samples are answers to one question, and are judged together
    has_groups: bool = False
    #: what its source holds and what is used of it; None: it was not read now
    account: DatasetAccount | None = None

    @property
    def target(self) -> Target:
        """What a head for it predicts."""
        return Target(
            task=self.task,
            classes=self.classes,
            mean=self.mean,
            std=self.std,
            has_groups=self.has_groups,
        )

    @property
    def metric(self) -> str:
        """Metric that models are compared by on it: its primary metric."""
        return self.own_metric or PRIMARY_METRICS[self.task]
