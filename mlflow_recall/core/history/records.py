"""Benchmark fine-tunings, models and datasets as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """One benchmark fine-tuning of one model on one dataset; scores are higher-is-better."""

    model: str
    dataset: str
    #: score on the validation split after each stage (epoch), oldest first
    validation_scores: tuple[float, ...] = ()
    #: final score on the test split; NaN where it was never measured
    final_score: float = math.nan
    #: score on the test split after each stage; empty where only the last one was tested
    test_scores: tuple[float, ...] = ()
    #: stages that the recipe asks for; a shorter curve is a partial one
    epochs: int = 0
    #: wall-clock seconds of each stage
    seconds: tuple[float, ...] = ()
    modality: str = ""
    #: digest of the dataset, version of the model, and the recipe as JSON: the key of its cell
    dataset_digest: str = ""
    model_version: str = ""
    recipe: str = ""
    #: names of the classes of its dataset; empty where nobody wrote them down
    class_names: tuple[str, ...] = ()
    #: how its dataset can be prepared again, as JSON; empty where nobody wrote it down
    dataset_spec: str = ""
    run_id: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether it ran to the last stage of its recipe and was tested."""
        return len(self.validation_scores) >= self.epochs and not math.isnan(self.final_score)


@dataclass(frozen=True)
class Member:
    """One model version of the zoo: a registered model that can be fine-tuned."""

    name: str
    version: str
    #: ``text`` or ``image``
    modality: str
    #: ``transformers/<model type>`` or ``timm/<architecture>``
    arch: str
    family: str = ""
    #: of the backbone, without a head; None where nobody told
    parameters: int | None = None
    #: weights can be resolved on this machine's terms; False: it only teaches by its history
    is_available: bool = True
    #: the classification head was trained on real source classes, so LEEP means something
    has_source_head: bool = False
    #: arguments that shape the architecture, e.g. ``{"num_hidden_layers": 4}``
    config: Mapping[str, object] = field(default_factory=dict)
    #: deviations from the recipe of its family
    recipe: Mapping[str, object] = field(default_factory=dict)
    #: cluster id and the matrix it came from, as the clustering job tagged them
    cluster: str = ""
    is_representative: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    #: the text that describes it: what the registry says of model, family and upstream data
    description: str = ""
    #: tells two versions of one name and number apart that are kept in different registries
    identity: str = ""

    @property
    def library(self) -> str:
        """``transformers`` or ``timm``."""
        return self.arch.partition("/")[0]


@dataclass(frozen=True)
class Dataset:
    """A classification dataset, split and saved where every worker can read it."""

    name: str
    #: identifies content, columns and split
    digest: str
    modality: str
    #: class names; a label is the index of its class here
    classes: tuple[str, ...]
    #: samples of each split
    sizes: Mapping[str, int]
    #: where it came from, for people
    source: str
    #: folder of the prepared copy
    folder: str
    #: how it can be prepared again, as JSON; empty where nobody knows
    spec: str = ""
