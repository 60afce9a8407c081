"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

EXAMPLE = "example"
CONTEXT = {
    "token_normalize_func": lambda token: token.replace("_", "-"),  # -P top_k is --top_k
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


def options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


STORE = options(
    click.option("--tracking-uri", help="MLflow store; by default the one that MLflow uses."),
    click.option(
        "--namespace",
        help="Zoo to work with: experiments NAMESPACE/benchmark, … and its models [recall].",
    ),
)


def _writable(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Refuse a file that could not be written after hours of work."""
    if value and value != "-":
        path = Path(value)
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise click.BadParameter(f"expected a file in an existing folder, got {value!r}.")
    return value


def _counted(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Refuse what is neither a number of models nor ``auto``."""
    if value and value != "auto" and not (value.isdecimal() and int(value)):
        raise click.BadParameter(f"expected a number of models (x>=1) or auto, got {value!r}.")
    return value


def between_commas(_: click.Context, __: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Values of a repeated option; commas part them too, for `mlflow run` gives an option once."""
    return tuple(part for value in values for part in map(str.strip, value.split(",")) if part)


def _conditions(_: click.Context, __: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """As ``between_commas``, but a comma before what is no condition belongs to the value."""
    parts = (part.strip() for value in values for part in re.split(r",(?=[^,=]+=)", value))
    return tuple(part for part in parts if part)


JSON = click.option(
    "--json",
    "json_to",
    metavar="FILE",
    callback=_writable,
    help="Write JSON; - is standard output.",
)
ENGINE = options(
    click.option("--engine", default="local", show_default=True, help="local or ray."),
    click.option("--workers", default=0, type=click.IntRange(min=0), help="Tasks at once."),
    click.option("--threads", default=0, type=click.IntRange(min=0), help="Threads of each."),
)
COLUMNS = options(
    click.option("--name", help="What to call the dataset; by default as its file."),
    click.option("--text", help="Text column; guessed where there is one."),
    click.option("--image", help="Image column."),
    click.option("--label", help="Label column; guessed where there is one."),
    click.option("--config", help="Configuration of a hub dataset."),
    click.option("--split", default="split", help="Column that names each row's split [split]."),
    click.option(
        "--split-seed",
        default=0,
        type=click.IntRange(min=0),
        help="Seed of splits that are not given.",
    ),
)
TARGET = options(
    click.option(
        "--dataset",
        default=EXAMPLE,
        show_default=True,
        help="CSV, JSONL or Parquet file, image folder, saved datasets folder, hub id, or "
        "example:NAME (docstrings, script_id).",
    ),
    COLUMNS,
)
#: value of ``--minimize`` without a name: the metric in use
THE_METRIC = "*"
MINIMIZE = click.option(
    "--minimize",
    multiple=True,
    is_flag=False,
    flag_value=THE_METRIC,
    metavar="[NAME]",
    help="Metrics of the tables that are losses, comma separated or repeated; without a name: "
    "the metric in use.",
)
HISTORY = options(
    click.option("--history", help="Folder of plain tables in place of the tracking server."),
    MINIMIZE,
)
TABLES = options(
    HISTORY,
    click.option(
        "--drop-dataset",
        multiple=True,
        callback=between_commas,
        help="Datasets of --history to leave out, comma separated or repeated.",
    ),
    click.option("--modality", help="text or image, where the history has both."),
)
CONSTRAINTS = options(
    click.option("--models", help="Names or patterns, comma separated; by default all."),
    click.option("--max-params", help="Largest backbone, such as 30M."),
    click.option("--license", "licenses", help="Licenses that will do, comma separated."),
    click.option(
        "--where",
        multiple=True,
        callback=_conditions,
        help="tag=value or tag!=value, comma separated or repeated.",
    ),
)
ADVICE = options(
    click.option("--metric", default="accuracy", show_default=True, help="What to select by."),
    click.option(
        "--top-k",
        callback=_counted,
        help="Models to recall [5]; auto: as few as reach --confidence.",
    ),
    click.option(
        "--recommender",
        default="auto",
        show_default=True,
        help="auto (blend ranks, portfolio picks the set), blend, portfolio, prior, prior_rank, "
        "interleaved, linear, factorization, paper (eq. 2-4) or paper_code.",
    ),
    click.option("--tolerance", type=float, help="Gap that does not matter [0.01]."),
    click.option(
        "--confidence",
        default=0.9,
        show_default=True,
        help="Wanted probability that the set of --top-k auto holds a near-best model.",
    ),
)
RECALL = options(
    ADVICE,
    click.option(
        "--score",
        default="auto",
        show_default=True,
        help="auto (logme and hscore; leep too where all heads are real), or names between commas; "
        "parc+depth adds the depth term.",
    ),
    click.option("--probe-samples", default=500, type=click.IntRange(min=10), show_default=True),
    click.option(
        "--label-encoder",
        help="Text model that compares class names, for linear and factorization; none by default.",
    ),
    CONSTRAINTS,
)
RECIPE = options(
    click.option("--epochs", type=click.IntRange(min=1), help="Stages of a fine-tuning."),
    click.option("--train-samples", type=click.IntRange(min=0), help="Of the target; 0: all."),
    click.option("--eval-samples", type=click.IntRange(min=0), help="Of each other split; 0: all."),
    click.option("--batch-size", type=click.IntRange(min=1)),
    click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True)),
    click.option("--freeze", help="nothing, embeddings or backbone."),
    click.option("--input-size", type=click.IntRange(min=0), help="Tokens, or pixels of a side."),
    click.option("--seed", type=int, help="Of the fine-tuning."),
)
RECIPE_FIELDS = (
    "epochs", "train_samples", "eval_samples", "batch_size", "learning_rate", "freeze",
    "input_size", "seed",
)  # fmt: skip
