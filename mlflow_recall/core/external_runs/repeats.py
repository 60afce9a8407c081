"""Several runs of one cell: repeats, copies, or a sweep of which one configuration is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.core.external_runs.rules import ImportRules, InterpretedRun

#: params that may differ between repeats of one fine-tuning
_INCIDENTAL = re.compile(
    r"seed|dir$|_dir_|path|file|run_name|run_id|experiment|job|output|logg|log_|save|hub|push|"
    r"report_to|host|port$|rank|world|device|gpu|worker|date|time|commit|sha$|git|user|resume|"
    r"checkpoint|wandb|tqdm|verbose|version",
    re.IGNORECASE,
)


def choose_configuration(
    cell: Sequence[InterpretedRun], rules: ImportRules
) -> tuple[list[InterpretedRun], dict[str, list[InterpretedRun]]]:
    """The runs of a cell that are kept, and why the others are not.

    Args:
        cell: runs of one model on one dataset, oldest first.
        rules: whose ``keep`` decides between configurations; repeats of the one are all kept.
    """
    own: list[InterpretedRun] = []
    copies: list[InterpretedRun] = []
    seen = set()
    for each in cell:
        content = (frozenset(each.run.params.items()), frozenset(each.run.metrics.items()))
        (copies if content in seen else own).append(each)
        seen.add(content)
    left = {"a copy of an earlier run": copies} if copies else {}
    groups: dict[str, list[InterpretedRun]] = {}
    for each, configuration in zip(own, _configurations(own, rules), strict=True):
        groups.setdefault(configuration, []).append(each)
    if len(groups) < 2 or rules.keep == "all":
        return own, left
    if rules.keep == "last":
        name, reason = _latest(groups), "a later configuration of its cell is kept"
    else:
        name = max(
            groups, key=lambda g: sum(c.validation_score for c in groups[g]) / len(groups[g])
        )
        reason = "another configuration of its cell has a better validation score"
    left[reason] = [each for group in groups if group != name for each in groups[group]]
    return groups[name], left


def _latest(groups: Mapping[str, Sequence[InterpretedRun]]) -> str:
    """The configuration that was started last."""
    return max(groups, key=lambda group: max(each.run.start_time for each in groups[group]))


def _configurations(cell: Sequence[InterpretedRun], rules: ImportRules) -> list[str]:
    """What of each run's params sets it apart from others of its cell, repeats aside."""
    differing = differing_params([each.run for each in cell], rules)
    return [json.dumps([each.run.params.get(p) for p in differing]) for each in cell]


def differing_params(runs: Sequence[LoggedRun], rules: ImportRules) -> list[str]:
    """Params in which runs differ on purpose; seeds, paths and the like are incidental."""
    named = {key.removeprefix("params.") for key in (*rules.model, *rules.dataset, *rules.ignore)}
    named |= {part.strip().removeprefix("params.") for name in named for part in name.split("+")}
    keys = sorted({key for run in runs for key in run.params} - named)
    return [
        key
        for key in keys
        if not _INCIDENTAL.search(key) and len({run.params.get(key) for run in runs}) > 1
    ]
