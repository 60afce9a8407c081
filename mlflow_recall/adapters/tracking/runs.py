"""Runs as we write them: explicit ids, one batch a stage, an owner and a reason on each."""

from __future__ import annotations

import getpass
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Dataset as Input
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunStatus, RunTag
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import ensure_experiment, search_runs
from mlflow_recall.adapters.tracking.ownership import Heartbeat, owner_tag
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.errors import RecallError
from mlflow_recall.ports import StageResult


class ActiveRun:
    """One RUNNING run of ours."""

    def __init__(self, writer: RunWriter, run: Run) -> None:
        self._writer = writer
        self._client = writer.client
        self.run_id: str = run.info.run_id
        self.experiment_id: str = run.info.experiment_id
        self._curves: dict[str, list[float]] = {}
        #: stages logged so far
        self.logged_stages = 0
        self.is_closed = False

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Metrics of one step, in one request; what is no finite number is left out, as unknown."""
        self._log_points(
            {key: value for key, value in metrics.items() if math.isfinite(value)}, step
        )

    def _log_points(self, metrics: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, step) for key, value in metrics.items()]
        if points:
            self._client.log_batch(self.run_id, metrics=points)

    def log_stage(self, result: StageResult) -> None:
        """Metrics of one finished stage, and the curves so far as one tag.

        A score that is no finite number stays in its place as NaN, or the stages after it would
        move up; why it is none is told beside it.
        """
        curve = {f"val/{name}": value for name, value in result.validation.items()}
        curve |= {f"test/{name}": value for name, value in result.test.items()}
        # a store would keep an infinite value as the largest number there is
        curve = {key: value if math.isfinite(value) else math.nan for key, value in curve.items()}
        self._log_points({**curve, "time/seconds": result.seconds}, result.stage)
        for name, value in {**curve, "seconds": round(result.seconds, 3)}.items():
            self._curves.setdefault(name, []).append(value)
        text = json.dumps(self._curves)
        told = {tags.CURVE: text} if len(text) <= tags.MAX_LENGTH else {}
        if why := result.divergence():
            told[tags.REASON] = why
        self.set_tags({tags.STAGE: str(result.stage), **told})
        self.logged_stages = result.stage

    def set_tags(self, values: Mapping[str, str]) -> None:
        """Tags, in one request."""
        entries = [RunTag(key, value[: tags.MAX_LENGTH]) for key, value in values.items()]
        self._client.log_batch(self.run_id, tags=entries)

    def log_params(self, values: Mapping[str, object], prefix: str = "") -> None:
        """Parameters, in one request."""
        entries = [Param(f"{prefix}{key}", str(value)) for key, value in values.items()]
        self._client.log_batch(self.run_id, params=entries)

    def set_description(self, markdown: str) -> None:
        """What the run's page opens with."""
        self.set_tags({MLFLOW_RUN_NOTE: markdown})

    def log_dataset_input(self, dataset: Dataset, context: str) -> None:
        """The dataset as an input of the run."""
        described = Input(
            name=dataset.name,
            digest=dataset.digest,
            source_type="code",
            source=json.dumps({"tags": {"source": dataset.source}}),
            profile=json.dumps({**dataset.sizes, "classes": len(dataset.classes)}),
        )
        entry = DatasetInput(described, [InputTag(MLFLOW_DATASET_CONTEXT, context)])
        self._client.log_inputs(self.run_id, [entry])

    def log_table(self, rows: Sequence[Mapping[str, object]], path: str) -> None:
        """A table artifact, which the UI shows as one."""
        if rows:
            self._client.log_table(self.run_id, pd.DataFrame(rows), path)

    def log_figure(self, figure: Figure | None, path: str) -> None:
        """A figure as an artifact, if there is one."""
        if figure is not None:
            self._client.log_figure(self.run_id, figure, path)

    def log_text(self, content: str, path: str) -> None:
        """A text, Markdown or HTML artifact."""
        self._client.log_text(self.run_id, content, path)

    def finish(self, status: str = "FINISHED", reason: str = "") -> None:
        """Close it, with why."""
        self._writer.heartbeat.release(self.run_id)
        if reason:
            self.set_tags({tags.REASON: reason})
        self._client.set_terminated(self.run_id, status)
        self.is_closed = True

    def finish_with_error(self, error: BaseException) -> None:
        """Close it because of an error: KILLED if a person or the system interrupted the work."""
        if isinstance(error, Exception):
            kind = "" if isinstance(error, RecallError) else f"{type(error).__name__}: "
            self.finish("FAILED", f"{kind}{error}")
        else:
            self.finish("KILLED", f"interrupted: {type(error).__name__}")

    def reopen(self) -> None:
        """Take up a closed run again; why it was closed holds no more."""
        self._client.update_run(self.run_id, status="RUNNING")
        told = self._client.get_run(self.run_id).data.tags
        for tag in (tags.STATUS, tags.REASON, tags.RIVAL, MLFLOW_RUN_NOTE):
            if tag in told:
                self._client.delete_tag(self.run_id, tag)
        self._writer.heartbeat.watch(self.run_id)
        self.is_closed = False


class RunWriter:
    """Opens and closes runs in one experiment, and beats for those that are open.

    Args:
        client: of the tracking server.
        experiment: name, made if need be.
    """

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self.client = client
        self.heartbeat = Heartbeat(client)
        self._experiment = experiment

    def open_run(
        self,
        name: str,
        kind: str,
        told: Mapping[str, str] | None = None,
        parent: ActiveRun | None = None,
    ) -> ActiveRun:
        """A new RUNNING run, a child of ``parent`` if there is one."""
        experiment = (
            parent.experiment_id if parent else ensure_experiment(self.client, self._experiment)
        )
        nested = {MLFLOW_PARENT_RUN_ID: parent.run_id} if parent else {}
        run = self.client.create_run(
            experiment,
            run_name=name,
            tags={**_mine(kind), **_made(), **nested, **(told or {})},
        )
        self.heartbeat.watch(run.info.run_id)
        return ActiveRun(self, run)

    def start(self, name: str, kind: str, run_id: str = "") -> ActiveRun:
        """The run of a command: the one that ``mlflow run`` opened for it, or a new one."""
        return self._adopt(run_id, name, kind) if run_id else self.open_run(name, kind)

    @contextmanager
    def managed_run(self, name: str, kind: str, run_id: str = "") -> Iterator[ActiveRun]:
        """As ``start``, closed at the end of the block: with the reason where an error ends it."""
        run = self.start(name, kind, run_id)
        try:
            yield run
        except BaseException as error:
            run.finish_with_error(error)
            raise
        run.finish()

    def _adopt(self, run_id: str, name: str, kind: str) -> ActiveRun:
        run = self.client.get_run(run_id)
        opened = ActiveRun(self, run)
        opened.set_tags(_mine(kind))
        self.client.update_run(run_id, name=name)
        self.heartbeat.watch(run_id)
        return opened

    def runs_by_cell(self) -> dict[str, list[Run]]:
        """Benchmark runs of the experiment by cell key, oldest first."""
        found = self.client.get_experiment_by_name(self._experiment)
        cells: dict[str, list[Run]] = {}
        if found is not None:
            query = f"tags.`{tags.KIND}` = 'benchmark'"
            runs = search_runs(self.client, [str(found.experiment_id)], query)
            for run in sorted(runs, key=_age):
                cells.setdefault(run.data.tags.get(tags.CELL, ""), []).append(run)
        return cells

    def oldest_claim(self, cell: str) -> str:
        """Id of the oldest RUNNING run of a cell: of several claims at once that one stands."""
        found = ensure_experiment(self.client, self._experiment)
        query = f"tags.`{tags.CELL}` = '{cell}' AND attributes.status = 'RUNNING'"
        runs = list(search_runs(self.client, [found], query))
        return str(min(runs, key=_age).info.run_id) if runs else ""

    def withdraw(self, run: ActiveRun) -> None:
        """Take back a claim that came second; nothing was written to it."""
        self.heartbeat.release(run.run_id)
        self.client.delete_run(run.run_id)

    def close(self) -> None:
        """End the heartbeat."""
        self.heartbeat.stop()


def _age(run: Run) -> tuple[int, str]:
    return run.info.start_time, run.info.run_id


def _mine(kind: str) -> dict[str, str]:
    return {tags.KIND: kind, tags.OWNER: owner_tag(), tags.HEARTBEAT: f"{time.time():.0f}"}


def _made() -> dict[str, str]:
    """What the page of a run says of its origin; `mlflow run` says it of its own."""
    return {
        MLFLOW_USER: getpass.getuser(),
        MLFLOW_SOURCE_NAME: "mlflow-recall",
        MLFLOW_SOURCE_TYPE: "LOCAL",
    }


def non_default(values: Mapping[str, object]) -> dict[str, object]:
    """Settings as parameters: those that nobody set are left out."""
    return {key: value for key, value in values.items() if value not in (None, "", (), {})}


def is_finished(run: Run) -> bool:
    """Whether a benchmark run finished its cell."""
    return bool(run.info.status == RunStatus.to_string(RunStatus.FINISHED))


def is_running(run: Run) -> bool:
    """Whether somebody is at work on it."""
    return bool(run.info.status == RunStatus.to_string(RunStatus.RUNNING))
