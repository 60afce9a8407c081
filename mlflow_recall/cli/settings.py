"""What was given on the command line -> settings of a workflow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlflow_recall.cli.options import EXAMPLE, RECIPE_FIELDS
from mlflow_recall.errors import SettingError, unknown

if TYPE_CHECKING:
    from mlflow_recall.adapters.datasets import DatasetSpec
    from mlflow_recall.config import RecallConfig, RecommendConfig
    from mlflow_recall.core.budget import Budget
    from mlflow_recall.core.constraints import Constraints
    from mlflow_recall.ports import Tables

#: target of the example where none is named
EXAMPLE_TARGET = "docstrings"


def is_example(dataset: str) -> bool:
    """Whether it is a target of the example: ``example``, or ``example:`` and its name."""
    return dataset.partition(":")[0] == EXAMPLE


def spec(options: Mapping[str, Any]) -> DatasetSpec:
    """The target; ``example`` and ``example:NAME`` are those that ship."""
    from mlflow_recall.adapters.datasets import DatasetSpec

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
    from mlflow_recall.adapters.manifests import read_benchmarks

    name = dataset.partition(":")[2] or EXAMPLE_TARGET
    file = mlflow_recall_example.FOLDER / "targets" / "targets.yaml"
    there = {target.name: target for target in read_benchmarks(str(file))}
    if name not in there:
        raise SettingError(unknown("target of the example", name, there))
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
        models=split_names(options["models"]),
        constraints=constraints(options),
    )


def top_k(text: str | None) -> int | None:
    """A number of models, 0 where nobody gave one, None for ``auto``."""
    return None if text == "auto" else int(text or 0)


def constraints(options: Mapping[str, Any]) -> Constraints:
    """Who may be considered at all."""
    from mlflow_recall.core.constraints import Constraints, parse_size

    return Constraints(
        max_parameters=parse_size(options["max_params"]) if options["max_params"] else None,
        licences=split_names(options["licences"]),
        where=tuple(options["where"]),
    )


def budget(epochs: float | None, hours: float | None) -> Budget:
    """What a selection may cost."""
    from mlflow_recall.core.budget import Budget

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
        drop=tuple(options["drop_dataset"]),
    )


def refuse_tables(options: Mapping[str, Any]) -> None:
    """Options that say something about plain tables only, where there are none.

    Raises:
        SettingError: one of them was given.
    """
    for name in ("drop_dataset", "minimize"):
        if options[name]:
            raise SettingError(f"{name}: expected only beside --history, got {options[name]!r}")


def folder_of(folder: str, minimize: bool) -> Tables:
    """``--history``: plain tables, or what `history export` wrote."""
    from mlflow_recall.adapters.portable import ExportHistory
    from mlflow_recall.adapters.tables import FolderHistory

    if ExportHistory.is_one(folder):
        return ExportHistory(folder)
    return FolderHistory(folder, minimize=minimize)
