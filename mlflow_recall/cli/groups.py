"""Groups of options that several commands have, and the settings that they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import click

from mlflow_recall.cli.example import EXAMPLE, is_example, shipped_target
from mlflow_recall.cli.options import (
    Count,
    Number,
    check_count,
    option,
    split_at_commas,
    split_conditions,
    split_names,
)
from mlflow_recall.core.history.tasks import PRIMARY, TASKS

if TYPE_CHECKING:
    from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
    from mlflow_recall.config import RecallConfig, RecommendConfig
    from mlflow_recall.core.recommend.constraints import Constraints

POSITIVE = Number(min=0)
COUNT = Count(min=1)
#: default of ``--tolerance`` in words
DEFAULT_TOLERANCE = "0.01, or a tenth of the spread where a metric's best value is not 1"
#: value of ``--minimize`` without a name: the metric in use
METRIC_IN_USE = "*"


def metric_option(purpose: str) -> Any:
    """Declare ``--metric`` of a command that reads a history."""
    help_text = f"{purpose}; primary: each dataset's own."
    return option("--metric", default=PRIMARY, help=help_text)


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Where models, history and runs are."""

    tracking_uri: str | None = option(
        "--tracking-uri", unset="the one that MLflow uses", help="MLflow tracking server or store."
    )
    namespace: str | None = option(
        "--namespace",
        unset="recall",
        help="Prefix of the experiments and models of one zoo, such as NAMESPACE/benchmark.",
    )


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where models are trained."""

    engine: str = option("--engine", default="local", help="local or ray.")
    workers: int | None = option(
        "--workers", type=Count(min=0), unset="one for each core", help="Parallel workers."
    )
    threads: int | None = option(
        "--threads",
        type=Count(min=0),
        unset="cores / workers",
        help="Threads of each worker.",
    )


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """A dataset, if one is named."""

    dataset: str | None = option(
        "--dataset",
        unset="a dataset like the recorded ones",
        help="Dataset whose samples scale the hours.",
    )
    name: str | None = option("--name", unset="as its file", help="Name of the dataset.")
    text: str | None = option(
        "--text",
        unset="the only one",
        help="Text column, or the two columns of sentence pairs with a comma between them.",
    )
    image: str | None = option("--image", unset="the only one", help="Image column.")
    label: str | None = option(
        "--label",
        unset="the only one",
        help="Label column, or those of zeros and ones of a multi-label dataset with commas "
        "between them.",
    )
    task: str | None = option(
        "--task",
        type=click.Choice(TASKS),
        unset="found out",
        help="What a label is: a class, any of several labels, or a number.",
    )
    config: str | None = option("--config", unset="none", help="Configuration of a hub dataset.")
    split: str = option("--split", default="split", help="Column that names the split of each row.")
    split_seed: int = option(
        "--split-seed", default=0, type=Count(min=0), help="Seed of splits that are drawn."
    )
    delimiter: str | None = option(
        "--delimiter",
        unset="found out",
        help="Delimiter of a text file: comma, semicolon, tab, pipe or one character.",
    )
    encoding: str | None = option(
        "--encoding", unset="found out", help="Encoding of a text file, such as utf-8 or cp1252."
    )
    quoting: str | None = option(
        "--quoting",
        unset="found out",
        help="Quotation marks of a text file: double (as CSV has them), backslash, or none (they "
        "are text).",
    )

    def spec(self) -> DatasetSpec | None:
        """Return where the dataset is; None: none is named.

        Raises:
            ConfigError: The example has no such target.
        """
        from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec

        if self.dataset is None:
            return None
        if is_example(self.dataset):
            target = shipped_target(self.dataset)
            return replace(target, name=self.name or target.name)
        text, *pair = split_names(self.text) or ("",)
        if len(pair) > 1:
            raise click.BadParameter(
                f"expected a column or a pair of columns, got {self.text!r}.", param_hint="--text"
            )
        label, *more = split_names(self.label) or ("",)
        return DatasetSpec(
            path=self.dataset,
            name=self.name or "",
            config=self.config or "",
            text=text,
            text_pair=pair[0] if pair else "",
            image=self.image or "",
            label="" if more else label,
            labels=(label, *more) if more else (),
            task=self.task or "",
            split=self.split,
            seed=self.split_seed,
            delimiter=self.delimiter or "",
            encoding=self.encoding or "",
            quoting=self.quoting or "",
        )


@dataclass(frozen=True, kw_only=True)
class TargetOptions(DatasetOptions):
    """The dataset to find a model for."""

    dataset: str = option(
        "--dataset",
        default=EXAMPLE,
        help="CSV, TSV, JSON or Parquet file, image folder, saved datasets folder, hub id, or "
        "example:NAME (docstrings, script_id).",
    )

    def target(self) -> DatasetSpec:
        """Return where the target is."""
        spec = self.spec()
        if spec is None:
            raise click.BadParameter("expected a dataset, got none.", param_hint="--dataset")
        return spec


@dataclass(frozen=True, kw_only=True)
class HistoryOptions:
    """A history in files."""

    history: str | None = option(
        "--history",
        unset="the tracking server",
        help="Folder of plain tables, or of `history export`.",
    )
    minimize: tuple[str, ...] = option(
        "--minimize",
        multiple=True,
        is_flag=False,
        flag_value=METRIC_IN_USE,
        metavar="[NAME]",
        unset="as recorded",
        help="Metrics of the tables that are losses, comma separated or repeated; without a name: "
        "the metric in use.",
    )


@dataclass(frozen=True, kw_only=True)
class TableOptions(HistoryOptions):
    """A history in files, and the part of it that counts."""

    drop_dataset: tuple[str, ...] = option(
        "--drop-dataset",
        multiple=True,
        callback=split_at_commas,
        unset="none",
        help="Datasets to leave out, comma separated or repeated.",
    )
    modality: str | None = option(
        "--modality", unset="the only one that is recorded", help="text or image."
    )


@dataclass(frozen=True, kw_only=True)
class ConstraintOptions:
    """Which models may be considered."""

    models: str | None = option(
        "--models", unset="all", help="Names or patterns of models, comma separated."
    )
    max_params: str | None = option(
        "--max-params", unset="any", help="Largest number of parameters of a backbone, such as 30M."
    )
    licenses: str | None = option(
        "--license", unset="any", help="Allowed licenses, comma separated."
    )
    where: tuple[str, ...] = option(
        "--where",
        multiple=True,
        callback=split_conditions,
        unset="any",
        help="Conditions on tags, tag=value or tag!=value, comma separated or repeated.",
    )

    def constraints(self) -> Constraints:
        """Return the constraints.

        Raises:
            ConfigError: A size or condition cannot be read.
        """
        from mlflow_recall.core.recommend.constraints import Constraints, parse_size

        return Constraints(
            max_parameters=parse_size(self.max_params) if self.max_params else None,
            licenses=split_names(self.licenses),
            where=self.where,
        )


def _describe_recommenders() -> str:
    from mlflow_recall.core.defaults import Defaults
    from mlflow_recall.core.recommend import RECOMMENDERS

    built_in, rows = Defaults(), RECOMMENDERS.describe(lambda row: row.summary)
    return (
        f"auto (as `backtest` prefers, at first {built_in.ranker} to rank and "
        f"{built_in.set_selector} to select the set), or one of {rows}."
    )


@dataclass(frozen=True, kw_only=True)
class RecommendOptions(ConstraintOptions):
    """How models are ranked, and how many are selected."""

    metric: str = metric_option("Metric to select by")
    top_k: int | Literal["auto"] | None = option(
        "--top-k",
        callback=check_count,
        unset="as `backtest` prefers, at first 5",
        help="Models to recall; auto: as few as reach --confidence.",
    )
    recommender: str = option(
        "--recommender", default="auto", describe=_describe_recommenders, help=""
    )
    tolerance: float | None = option(
        "--tolerance",
        type=Number(),
        unset=DEFAULT_TOLERANCE,
        help="Regret treated as zero.",
    )
    confidence: float = option(
        "--confidence",
        default=0.9,
        help="Probability that the set of --top-k auto holds a model within the tolerance.",
    )

    def recommend_config(self, tables: TableOptions | None = None) -> RecommendConfig:
        """Return the settings of a recommendation.

        Args:
            tables: Modality, and datasets that are left out; None: as the target requires.
        """
        from mlflow_recall.config import RecommendConfig

        return RecommendConfig(
            metric=self.metric,
            modality=tables.modality if tables else None,
            recommender=self.recommender,
            top_k=self.top_k,
            tolerance=self.tolerance,
            confidence=self.confidence,
            models=split_names(self.models),
            constraints=self.constraints(),
            drop_datasets=tables.drop_dataset if tables else (),
        )


def _describe_scores() -> str:
    from mlflow_recall.core.scores import SCORES

    return (
        "auto (logme and hscore, leep too where all heads are real, as far as they serve the "
        f"task), or names from {', '.join(SCORES)}, "
        "comma separated; parc+depth adds the depth term."
    )


def _describe_label_encoder() -> str:
    from mlflow_recall.core.recommend import RECOMMENDERS

    readers = " and ".join(name for name in RECOMMENDERS if RECOMMENDERS[name].reads_labels)
    return f"Text model that compares class names for {readers}."


@dataclass(frozen=True, kw_only=True)
class RecallOptions(RecommendOptions):
    """How models are ranked for a dataset."""

    score: str = option("--score", default="auto", describe=_describe_scores, help="")
    probe_samples: int = option(
        "--probe-samples",
        default=500,
        type=Count(min=10),
        help="Samples of the target that each representative looks at.",
    )
    label_encoder: str | None = option(
        "--label-encoder", unset="none", describe=_describe_label_encoder, help=""
    )

    def recall_config(self, target: TargetOptions, *, mode: str | None = None) -> RecallConfig:
        """Return the settings of a recall.

        Args:
            target: The dataset.
            mode: Mode of the recipes whose records count; None: that of most records.
        """
        from mlflow_recall.config import RecallConfig

        return RecallConfig(
            dataset=target.target(),
            recommend=replace(self.recommend_config(), mode=mode),
            scores=() if self.score == "auto" else split_names(self.score),
            probe_samples=self.probe_samples,
            label_encoder=self.label_encoder,
        )


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """Fields of the recipe that differ from the history's or the family's."""

    epochs: int | None = option("--epochs", type=COUNT, unset="recipe", help="Training epochs.")
    train_samples: int | None = option(
        "--train-samples",
        type=Count(min=0),
        unset="recipe",
        help="Training samples; 0: all.",
    )
    eval_samples: int | None = option(
        "--eval-samples",
        type=Count(min=0),
        unset="recipe",
        help="Samples of validation and test, each; 0: all.",
    )
    batch_size: int | None = option(
        "--batch-size", type=COUNT, unset="recipe", help="Samples of a step."
    )
    learning_rate: float | None = option(
        "--learning-rate", type=POSITIVE, unset="recipe", help="Highest learning rate."
    )
    mode: str | None = option(
        "--mode",
        unset="recipe",
        help="What is trained: full; frozen, the head alone on embeddings that are computed once; "
        "or lora, the head and low-rank changes of linear layers.",
    )
    freeze: str | None = option(
        "--freeze", unset="recipe", help="What is not trained: nothing, embeddings or backbone."
    )
    class_weight: str | None = option(
        "--class-weight",
        unset="recipe",
        help="How classes and labels are weighed: none, or balanced.",
    )
    input_size: int | None = option(
        "--input-size",
        type=Count(min=0),
        unset="recipe",
        help="Tokens, or pixels of a side; 0: as many as the model can read.",
    )
    seed: int | None = option("--seed", type=int, unset="recipe", help="Seed of the training.")

    def changes(self) -> dict[str, Any]:
        """Return the fields that are set."""
        return {name: value for name, value in vars(self).items() if value is not None}
