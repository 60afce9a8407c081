"""Claims: of all workers that share a tracking server, one trains each cell.

The server has no compare-and-set, its answers may get lost, and clocks of other machines mean
nothing. So a claim is made of tags that are written once: whoever sees that nobody holds or has
finished a cell creates a run, confirms it, looks again, and holds the cell if it still sees nobody.
Of two that see each other both withdraw, and try again after a random time. A run that is not
confirmed blocks nobody: it may come of a request whose answer its owner never got.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlflow.entities import Run

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import is_finished, is_running
from mlflow_recall.adapters.tracking.ownership import Liveness, take_over
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter

#: seconds that a worker waits at most before it claims again, doubled with each conflict
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0


@dataclass(frozen=True, kw_only=True)
class CellState:
    """What the runs of a cell say."""

    is_finished: bool = False
    #: whether a living worker trains it
    is_held: bool = False
    #: running ones whose owner is dead -> why it is
    dead: Mapping[str, str] = field(default_factory=dict)
    #: runs that failed, and not because their owner died -> reason
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_free(self) -> bool:
        """Whether it may be claimed."""
        return not (self.is_finished or self.is_held)


class Claims:
    """The claims of one process on the cells of one experiment.

    Args:
        writer: Opens the runs.
        liveness: Watches the heartbeats of others.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        writer: RunWriter,
        liveness: Liveness | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._writer = writer
        self._liveness = liveness or Liveness()
        self._sleep = sleep
        self._random = random.Random()  # noqa: S311 - workers must differ, nothing is secret

    def look(self, cell: str, own: ActiveRun | None = None) -> CellState:
        """Return what the runs of a cell say, but for one of our own."""
        runs = self._writer.runs_of_cell(cell)
        return self.read([run for run in runs if own is None or run.info.run_id != own.run_id])

    def read(self, runs: list[Run]) -> CellState:
        """Return what the runs of one cell say, which were just read."""
        running = [run for run in runs if is_running(run)]
        dead = {
            run.info.run_id: reason
            for run in running
            if (reason := self._liveness.why_dead(run)) is not None
        }
        return CellState(
            is_finished=any(map(is_finished, runs)),
            is_held=any(_is_valid(run) and run.info.run_id not in dead for run in running),
            dead=dead,
            failed={
                run.info.run_id: run.data.tags.get(tags.REASON, "no reason given")
                for run in runs
                if run.info.status == "FAILED" and _is_valid(run)
            },
        )

    def claim(
        self,
        cell: str,
        name: str,
        own_tags: Mapping[str, str],
        given_up: Callable[[CellState], bool] = lambda _: False,
    ) -> ActiveRun | None:
        """Return an open run that holds a cell; None if another one has finished or holds it.

        A holder whose owner is dead is closed first.

        Args:
            cell: Key of the cell.
            name: Name of the run.
            own_tags: Tags of the run.
            given_up: Whether a free cell is not to be claimed either.
        """
        longest = _FIRST_WAIT
        while True:
            state = self.look(cell)
            if not state.is_free or given_up(state):
                return None
            for run_id, reason in state.dead.items():
                take_over(self._writer.client, run_id, reason)
            run = self._writer.open_run(name, "benchmark", {**own_tags, tags.CELL: cell})
            run.set_tags({tags.CONFIRMED: "true"})
            if self.look(cell, run).is_free:
                return run
            run.withdraw()
            self._sleep(self._random.uniform(0, longest))
            longest = min(2 * longest, _LONGEST_WAIT)


def _is_valid(run: Run) -> bool:
    """Return whether a run held its cell, and was not taken over.

    Imported runs claim nothing: they hold their cell from the start.
    """
    run_tags = run.data.tags
    ended = {tags.WITHDRAWN, tags.TAKEN_OVER} & run_tags.keys()
    return not ended and (tags.CONFIRMED in run_tags or tags.TOKEN not in run_tags)
