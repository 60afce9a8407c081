"""What was given on the command line -> settings of a workflow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlflow_recall.cli.options import EXAMPLE, RECIPE_FIELDS, THE_METRIC
from mlflow_recall.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
    from mlflow_recall.config import RecallConfig, RecommendConfig
    from mlflow_recall.core.policies.budget import Budget
    from mlflow_recall.core.recommend.constraints import Constraints
    from mlflow_recall.ports import Tables

#: target of the example where none is named
EXAMPLE_TARGET = "docstrings"


def is_example(dataset: str) -> bool:
    """Whether it is a target of the example: ``example``, or ``example:`` and its name."""
    return dataset.partition(":")[0] == EXAMPLE


def spec(options: Mapping[str, Any]) -> DatasetSpec:
    """The target; ``example`` and ``example:NAME`` are those that ship."""
    from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec

    if is_example(options["dataset"]):
        target = shipped(options["dataset"])
        return replace(target, name=options["name"] or target.name)
    return DatasetSpec(
        path=options["dataset"],
        name=options["name"] or "",
        config=options["config"] or "",
        text=options["text"] or "",
        image=options["image"] or "",
        label=options["label"] or "",
        split=options["split"],
        seed=options["split_seed"],
    )


def shipped(dataset: str) -> DatasetSpec:
    """The target of the example that ``example`` or ``example:NAME`` means.

    Raises:
        SettingError: there is none of that name.
    """
    import mlflow_recall_example
    from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks

    name = dataset.partition(":")[2] or EXAMPLE_TARGET
    file = mlflow_recall_example.FOLDER / "targets" / "targets.yaml"
    there = {target.name: target for target in read_benchmarks(str(file))}
    if name not in there:
        raise ConfigError(unknown_name("target of the example", name, there))
    return there[name]


def recall_config(options: Mapping[str, Any]) -> RecallConfig:
    """Target and recall options together."""
    from mlflow_recall.config import RecallConfig

    return RecallConfig(
        dataset=spec(options),
        metric=options["metric"],
        recommender=options["recommender"],
        score=options["score"],
        top_k=top_k(options["top_k"]),
        tolerance=options["tolerance"],
        confidence=options["confidence"],
        probe_samples=options["probe_samples"],
        label_encoder=options["label_encoder"] or "",
        models=split_names(options["models"]),
        constraints=constraints(options),
    )


def top_k(text: str | None) -> int | None:
    """A number of models, 0 where nobody gave one, None for ``auto``."""
    return None if text == "auto" else int(text or 0)


def constraints(options: Mapping[str, Any]) -> Constraints:
    """Who may be considered at all."""
    from mlflow_recall.core.recommend.constraints import Constraints, parse_size

    return Constraints(
        max_parameters=parse_size(options["max_params"]) if options["max_params"] else None,
        licenses=split_names(options["licenses"]),
        where=tuple(options["where"]),
    )


def budget(epochs: float | None, hours: float | None) -> Budget:
    """What a selection may cost."""
    from mlflow_recall.core.policies.budget import Budget

    return Budget(
        math.inf if epochs is None else epochs, math.inf if hours is None else hours * 3600
    )


def recipe_changes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the recipe that somebody gave."""
    given = {name: options.get(name) for name in RECIPE_FIELDS}
    return {name: value for name, value in given.items() if value is not None}


def split_names(names: str | None) -> tuple[str, ...]:
    """Names or patterns between commas."""
    return tuple(name.strip() for name in (names or "").split(",") if name.strip())


def recommend_config(options: Mapping[str, Any]) -> RecommendConfig:
    """A recommendation from what is recorded alone."""
    from mlflow_recall.config import RecommendConfig

    return RecommendConfig(
        metric=options["metric"],
        modality=options["modality"] or "",
        recommender=options["recommender"],
        top_k=top_k(options["top_k"]),
        tolerance=options["tolerance"],
        confidence=options["confidence"],
        models=split_names(options["models"]),
        constraints=constraints(options),
        drop_datasets=tuple(options["drop_dataset"]),
    )


def refuse_tables(options: Mapping[str, Any]) -> None:
    """Options that say something about plain tables only, where there are none.

    Raises:
        SettingError: one of them was given.
    """
    for name in ("drop_dataset", "minimize"):
        if given := options.get(name):
            names = ", ".join(each for each in given if each != THE_METRIC) or "it alone"
            raise ConfigError(f"{name}: expected only beside --history, got {names}")


def folder_of(
    folder: str, minimize: Sequence[str] = (), metric: str | None = None, *, show: bool = False
) -> Tables:
    """``--history``: plain tables, or what `history export` wrote, which knows its losses.

    Args:
        folder: where it is.
        minimize: names of losses, or ``THE_METRIC``, as ``--minimize`` collects them.
        metric: the one in use; None and empty: the only one there is.
        show: whether other metrics are read beside that one.

    Raises:
        SettingError: no metric is in use, or it is known to be better when higher.
    """
    from mlflow_recall.adapters.export.export_history import ExportHistory
    from mlflow_recall.adapters.tables.folder_history import FolderHistory
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.core.external_runs.logging_conventions import is_minimized

    if ExportHistory.is_one(folder):
        return ExportHistory(folder)
    names = loss_names(minimize)
    history = FolderHistory(folder, minimize=names)
    used = [metric] if metric else history.metrics()
    if THE_METRIC in minimize:
        turned = losses(minimize, used)
        # the curves of the metric in use may have another name
        return FolderHistory(folder, minimize=turned if names or show else True)
    for name in used if len(used) == 1 else ():
        if is_minimized(name) and not history.is_loss(name):
            Terminal().warning(
                f"{name} is taken as better when higher; --minimize if it is a loss"
            )
    return history


def loss_names(minimize: Sequence[str]) -> tuple[str, ...]:
    """The names that ``--minimize`` was given."""
    return tuple(name for text in minimize if text != THE_METRIC for name in split_names(text))


def losses(minimize: Sequence[str], used: Sequence[str]) -> tuple[str, ...]:
    """What ``--minimize`` means where these metrics are in use.

    Raises:
        SettingError: it has no name and several metrics or none are in use, or the one in use is
            known to be better when higher.
    """
    from mlflow_recall.core.history.metrics import METRICS, to_maximize

    names = loss_names(minimize)
    if THE_METRIC not in minimize:
        return names
    if len(used) != 1:
        raise ConfigError(
            f"minimize: expected the name of a loss among {', '.join(used) or 'none'}"
        )
    if used[0] in METRICS and to_maximize(used[0], 1.0) > 0:
        raise ConfigError(
            f"minimize: {used[0]!r} is better when higher, got it as a loss: leave out --minimize, "
            "or rename the metric in the tables"
        )
    return (*names, used[0])
