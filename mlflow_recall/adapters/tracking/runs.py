"""Runs that this package writes: one request for each stage, an owner, and a reason at the end."""

from __future__ import annotations

import getpass
import json
import math
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Dataset as Input
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import (
    TRANSIENT,
    ensure_experiment,
    match,
    search_runs,
    without_retries,
)
from mlflow_recall.adapters.tracking.locations import check_host
from mlflow_recall.adapters.tracking.ownership import Heartbeat, owner_tags
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.errors import RecallError, TaskError
from mlflow_recall.ports import StageResult
from mlflow_recall.safe_text import redact, safe_data, safe_line, safe_note, safe_text

#: seconds before a creation that failed is tried again
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)


class ActiveRun:
    """A RUNNING run that this process writes."""

    def __init__(self, writer: RunWriter, run: Run) -> None:
        self._writer = writer
        self._client = writer.client
        self.run_id: str = run.info.run_id
        self.experiment_id: str = run.info.experiment_id
        self._curves: dict[str, list[float]] = {}
        #: number of stages that are logged
        self.logged_stages = 0
        self.is_closed = False

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of one step in one request; values that are not finite are left out."""
        self._log_points(
            {key: value for key, value in metrics.items() if math.isfinite(value)}, step
        )

    def _log_points(self, metrics: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, step) for key, value in metrics.items()]
        if points:
            self._client.log_batch(self.run_id, metrics=points)

    def log_stage(self, result: StageResult) -> None:
        """Log the metrics of one finished stage, and all curves so far as one tag.

        A score that is not finite keeps its place as NaN, so that later stages do not move up, and
        the reason is logged beside it.
        """
        curve = {f"val/{name}": value for name, value in result.validation.items()}
        curve |= {f"test/{name}": value for name, value in result.test.items()}
        # a store would keep an infinite value as the largest number that it knows
        curve = {key: value if math.isfinite(value) else math.nan for key, value in curve.items()}
        self._log_points({**curve, "time/seconds": result.seconds}, result.stage)
        for name, value in {**curve, "seconds": round(result.seconds, 3)}.items():
            self._curves.setdefault(name, []).append(value)
        text = json.dumps(self._curves)
        stage_tags = {tags.CURVE: text} if len(text) <= tags.MAX_LENGTH else {}
        if divergence := result.divergence():
            stage_tags[tags.REASON] = divergence
        self.set_tags({tags.STAGE: str(result.stage), **stage_tags})
        self.logged_stages = result.stage

    def set_tags(self, values: Mapping[str, str]) -> None:
        """Set tags in one request."""
        entries = [
            RunTag(key, value[: tags.MAX_LENGTH]) for key, value in _safe_tags(values).items()
        ]
        self._client.log_batch(self.run_id, tags=entries)

    def log_params(self, values: Mapping[str, object], prefix: str = "") -> None:
        """Log parameters in one request."""
        entries = [Param(f"{prefix}{key}", redact(str(value))) for key, value in values.items()]
        self._client.log_batch(self.run_id, params=entries)

    def set_description(self, markdown: str) -> None:
        """Set the text that the page of the run begins with."""
        self.set_tags({MLFLOW_RUN_NOTE: markdown})

    def log_dataset_input(self, dataset: Dataset, context: str) -> None:
        """Log the dataset as an input of the run."""
        profile: dict[str, object] = {**dataset.sizes, "task": dataset.task}
        if dataset.classes:
            profile["classes"] = len(dataset.classes)
        if dataset.account is not None:
            profile |= {"read": dataset.account.read, "left_out": dict(dataset.account.left_out)}
        entity = Input(
            name=dataset.name,
            digest=dataset.digest,
            source_type="code",
            source=json.dumps({"tags": {"source": redact(dataset.source)}}),
            profile=json.dumps(profile),
        )
        entry = DatasetInput(entity, [InputTag(MLFLOW_DATASET_CONTEXT, context)])
        self._client.log_inputs(self.run_id, [entry])

    def log_account(self, dataset: Dataset) -> None:
        """Log what the source of a dataset holds and what is used of it, if it was read now."""
        if dataset.account is not None:
            described = {"name": dataset.name, "digest": dataset.digest}
            content = {**described, **dataset.account.to_dict()}
            self.log_text(json.dumps(content, indent=2), "dataset.json")

    def log_table(self, rows: Sequence[Mapping[str, object]], path: str) -> None:
        """Log rows as a table artifact, which the UI shows as one; nothing without rows."""
        if rows:
            self._client.log_table(self.run_id, pd.DataFrame(safe_data(rows)), path)

    def log_figure(self, figure: Figure | None, path: str) -> None:
        """Log a figure as an artifact, if there is one."""
        if figure is not None:
            self._client.log_figure(self.run_id, figure, path)

    def log_text(self, content: str, path: str) -> None:
        """Log a text, Markdown or HTML artifact."""
        self._client.log_text(self.run_id, safe_text(content), path)

    def finish(self, status: str = "FINISHED", reason: str | None = None) -> None:
        """Close the run, with the reason if there is one."""
        self._writer.heartbeat.release(self.run_id)
        if reason:
            self.set_tags({tags.REASON: reason})
        self._client.set_terminated(self.run_id, status)
        self.is_closed = True

    def finish_unless_taken_over(self) -> bool:
        """Close the run as FINISHED, unless another process took it over; return whether it did."""
        if tags.TAKEN_OVER in self._client.get_run(self.run_id).data.tags:
            self._writer.heartbeat.release(self.run_id)
            self.is_closed = True  # by the other one
            return False
        self.finish()
        return True

    def finish_with_error(self, error: BaseException) -> None:
        """Close the run as FAILED, or as KILLED if a person or the system interrupted it.

        The traceback of a worker is kept as an artifact.
        """
        if isinstance(error, TaskError) and error.traceback:
            self.log_text(error.traceback, "traceback.txt")
        if isinstance(error, Exception):
            kind = "" if isinstance(error, RecallError) else f"{type(error).__name__}: "
            self.finish("FAILED", f"{kind}{error}")
        else:
            self.finish("KILLED", f"interrupted: {type(error).__name__}")

    def reopen(self) -> None:
        """Open a closed run again, without the tags that say why it was closed."""
        self._client.update_run(self.run_id, status="RUNNING")
        current = self._client.get_run(self.run_id).data.tags
        for tag in (tags.STATUS, tags.REASON, tags.RIVAL, MLFLOW_RUN_NOTE):
            if tag in current:
                self._client.delete_tag(self.run_id, tag)
        self._writer.heartbeat.watch(self.run_id)
        self.is_closed = False

    def withdraw(self) -> None:
        """Leave the cell of the run to another one, and delete the run."""
        self._writer.heartbeat.release(self.run_id)
        self._client.set_tag(self.run_id, tags.WITHDRAWN, "true")
        self._client.delete_run(self.run_id)
        self.is_closed = True


class RunWriter:
    """Opens and closes runs in one experiment, and keeps the heartbeat of those that are open.

    Args:
        client: Client of the tracking server.
        experiment: Name of the experiment, which is created if there is none.
    """

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self.client = client
        self.heartbeat = Heartbeat(client)
        self._experiment = experiment
        self._open: list[ActiveRun] = []
        #: tokens of runs whose creation failed at first, and the runs that have them
        self._doubted: dict[str, Run] = {}

    @property
    def open_runs(self) -> list[ActiveRun]:
        """The runs that it opened and nobody has closed."""
        self._open = [run for run in self._open if not run.is_closed]
        return list(self._open)

    def open_run(
        self,
        name: str,
        kind: str,
        own_tags: Mapping[str, str] | None = None,
        parent: ActiveRun | None = None,
    ) -> ActiveRun:
        """Open a RUNNING run, a child of ``parent`` if there is one."""
        experiment = (
            parent.experiment_id if parent else ensure_experiment(self.client, self._experiment)
        )
        parent_tag = {MLFLOW_PARENT_RUN_ID: parent.run_id} if parent else {}
        all_tags = {
            tags.KIND: kind,
            **owner_tags(),
            **_source_tags(),
            **parent_tag,
            **(own_tags or {}),
        }
        run = ActiveRun(self, self._create(experiment, safe_line(name), _safe_tags(all_tags)))
        self._open.append(run)
        self.heartbeat.watch(run.run_id)
        return run

    def _create(self, experiment: str, name: str, run_tags: Mapping[str, str]) -> Run:
        """Create a run, and only one, also where the answer of the server gets lost.

        MLflow's own client sends the request again, which makes a second run. Here the run carries
        a random token, by which it is found after a failure.

        Raises:
            MlflowException: The server refused, or could not be reached for several attempts.
        """
        token, is_doubted = uuid.uuid4().hex, False
        for wait in (*_WAITS, None):
            try:
                with without_retries():
                    run = self.client.create_run(
                        experiment, run_name=name, tags={**run_tags, tags.TOKEN: token}
                    )
                break
            except MlflowException as error:
                if error.error_code not in TRANSIENT or wait is None:
                    raise
            is_doubted = True
            time.sleep(wait)
            if found := self._runs_of_token(experiment, token):
                run = found[0]
                break
        if is_doubted:
            self._doubted[token] = run
        return run

    def _runs_of_token(self, experiment: str, token: str) -> list[Run]:
        runs = search_runs(self.client, [experiment], match(f"tags.`{tags.TOKEN}`", token))
        return sorted(runs, key=_run_id)

    @contextmanager
    def managed_run(self, name: str, kind: str, run_id: str | None = None) -> Iterator[ActiveRun]:
        """Open the run of a command, and close it at the end of the block, unless it is closed.

        Args:
            name: Name of the run.
            kind: Kind of the command.
            run_id: Run that ``mlflow run`` opened for the command; None: a new one is opened.
        """
        run = self._take_over(run_id, name, kind) if run_id else self.open_run(name, kind)
        try:
            yield run
        except BaseException as error:
            run.finish_with_error(error)
            raise
        if not run.is_closed:
            run.finish()

    def _take_over(self, run_id: str, name: str, kind: str) -> ActiveRun:
        adopted = self.client.get_run(run_id)
        check_host(self.client, str(adopted.info.artifact_uri))
        run = ActiveRun(self, adopted)
        run.set_tags({tags.KIND: kind, **owner_tags()})
        self.client.update_run(run_id, name=safe_line(name))
        self.heartbeat.watch(run_id)
        return run

    def runs_by_cell(self) -> dict[str, list[Run]]:
        """Return the benchmark runs of the experiment by cell key, each cell's by run id."""
        cells: dict[str, list[Run]] = {}
        for run in self._search(f"tags.`{tags.KIND}` = 'benchmark'"):
            cells.setdefault(run.data.tags.get(tags.CELL, ""), []).append(run)
        return cells

    def runs_of_cell(self, cell: str) -> list[Run]:
        """Return the benchmark runs of one cell by run id."""
        return self._search(match(f"tags.`{tags.CELL}`", cell))

    def _search(self, query: str) -> list[Run]:
        experiment = self.client.get_experiment_by_name(self._experiment)
        if experiment is None:
            return []
        runs = search_runs(self.client, [str(experiment.experiment_id)], query)
        return sorted(runs, key=_run_id)

    def close(self) -> None:
        """Stop the heartbeat, and delete runs that came of a request whose answer was lost."""
        self.heartbeat.stop()
        for token, own in self._doubted.items():
            for run in self._runs_of_token(own.info.experiment_id, token):
                if run.info.run_id != own.info.run_id:
                    self.client.delete_run(run.info.run_id)
        self._doubted.clear()


def _run_id(run: Run) -> str:
    return str(run.info.run_id)


def _safe_tags(values: Mapping[str, str]) -> dict[str, str]:
    """Return tags without secrets; those that people read have no acting characters either."""
    readable = {MLFLOW_RUN_NOTE: safe_note, tags.REASON: safe_line}
    return {key: readable.get(key, redact)(value) for key, value in values.items()}


def _source_tags() -> dict[str, str]:
    """Return the tags that say where a run comes from, as `mlflow run` sets them."""
    return {
        MLFLOW_USER: getpass.getuser(),
        MLFLOW_SOURCE_NAME: "mlflow-recall",
        MLFLOW_SOURCE_TYPE: "LOCAL",
    }


def non_default(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values that are set, as parameters of a run."""
    return {key: value for key, value in values.items() if value not in (None, "", (), {})}
