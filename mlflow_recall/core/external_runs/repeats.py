"""Several runs of one cell: repeats, copies, or a sweep, of which one configuration is kept."""

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
    """Return the runs of a cell that are kept, and the others by the reason why they are not.

    Args:
        cell: Runs of one model on one dataset, oldest first.
        rules: Rules whose ``keep`` decides between configurations. All repeats of the chosen
            configuration are kept.
    """
    distinct: list[InterpretedRun] = []
    copies: list[InterpretedRun] = []
    known_contents = set()
    for interpreted in cell:
        run = interpreted.run
        content = (frozenset(run.params.items()), frozenset(run.metrics.items()))
        (copies if content in known_contents else distinct).append(interpreted)
        known_contents.add(content)
    left_out = {"a copy of an earlier run": copies} if copies else {}
    groups: dict[str, list[InterpretedRun]] = {}
    for interpreted, configuration in zip(distinct, _configurations(distinct, rules), strict=True):
        groups.setdefault(configuration, []).append(interpreted)
    if len(groups) < 2 or rules.keep == "all":
        return distinct, left_out
    if rules.keep == "last":
        chosen, reason = _latest(groups), "a later configuration of its cell is kept"
    else:
        chosen = max(
            groups, key=lambda g: sum(c.validation_score for c in groups[g]) / len(groups[g])
        )
        reason = "another configuration of its cell has a better validation score"
    left_out[reason] = [run for group in groups if group != chosen for run in groups[group]]
    return groups[chosen], left_out


def _latest(groups: Mapping[str, Sequence[InterpretedRun]]) -> str:
    """Return the configuration whose last run was started last."""
    return max(groups, key=lambda group: max(c.run.start_time for c in groups[group]))


def _configurations(cell: Sequence[InterpretedRun], rules: ImportRules) -> list[str]:
    """Return the configuration of each run: equal for repeats, different for other runs."""
    differing = differing_params([interpreted.run for interpreted in cell], rules)
    return [json.dumps([c.run.params.get(param) for param in differing]) for c in cell]


def differing_params(runs: Sequence[LoggedRun], rules: ImportRules) -> list[str]:
    """Return the params in which runs differ on purpose; seeds, paths and the like do not count."""
    named = {key.removeprefix("params.") for key in (*rules.model, *rules.dataset, *rules.ignore)}
    named |= {part.strip().removeprefix("params.") for name in named for part in name.split("+")}
    keys = sorted({key for run in runs for key in run.params} - named)
    return [
        key
        for key in keys
        if not _INCIDENTAL.search(key) and len({run.params.get(key) for run in runs}) > 1
    ]
